#!/usr/bin/env bash
# Puts a small site on a webserver, with directories that are each webserver's own. Usage: sync_site.sh HOST
set -eu
find /var/www/html -mindepth 1 -delete
cd /var/www/html
mkdir -p 'img[1]' 'a b' '!x' '#x' wp-content/uploads wp-content/cache wp-content/themes img1
for own in 'img[1]' 'a b' '!x' '#x' wp-content/uploads wp-content/cache; do echo "$1" >"$own/own.txt"; done
# What the seed alone has, and old files that only another has.
if [ "$1" = web1 ]; then
    echo '<?php echo "php answers";' >index.php
    echo styles >wp-content/themes/style.css
    echo beside >img1/beside.txt
    ln -s wp-content/themes themes
    for number in $(seq 600); do
        mkdir -p "files/$((number % 12))"
        echo "$number" >"files/$((number % 12))/$number.txt"
    done
    chmod 640 files/1/1.txt
    chmod 750 files/2
else
    echo old >deleted-long-ago.txt
fi
chown -R root:root .

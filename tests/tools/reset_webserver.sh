#!/usr/bin/env bash
# Takes away whatever an earlier run left on a webserver, even one that was killed half-way: mounts, then floors.
systemctl stop 'adt-assets-backup-*.timer' adt-webroot-sync adt-assets-coherence adt-assets-watch 'adt-assets-retire@*' 'adt-assets-var-*' \
    'adt-assets-floor-*'
findmnt -rno TARGET | grep -e /var/www/ -e /run/adt-assets/ | tac | xargs -r -n1 umount -l
find /etc/systemd -name '*adt-assets*' -delete -o -name 'adt-webroot-sync*' -delete
rm -rf /etc/adt-assets /var/lib/adt-assets /var/cache/adt-assets /run/adt-assets
rm -rf /etc/adt-webroot-sync /var/lib/adt-webroot-sync /var/www/.*-sync
systemctl daemon-reload
systemctl reset-failed

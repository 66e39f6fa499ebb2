#!/bin/sh
# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Turns a base image into a host of the bed: runs in the container, once, before systemd.
# Usage: prepare.sh GROUP (webservers, store or build)
set -eu
[ ! -e /etc/adt-bed-prepared ] || exit 0
files=/srv/bed/files

# The container is privileged: these would change the machine itself, or wait for hardware.
for unit in systemd-modules-load.service systemd-sysctl.service getty.target console-getty.service \
    fstrim.timer apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer; do
    ln -sf /dev/null "/etc/systemd/system/$unit"
done
mkdir -p /etc/systemd/journald.conf.d
printf '[Journal]\nStorage=volatile\nReadKMsg=no\n' >/etc/systemd/journald.conf.d/bed.conf

# The machine's certificates, so that what it reaches through a proxy of its own can be reached from here.
if [ -s /srv/bed/ca.crt ]; then
    cat /srv/bed/ca.crt >/etc/ssl/certs/ca-certificates.crt
    printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n' >/etc/pip.conf
fi

useradd --create-home --shell /bin/bash admin
printf 'admin ALL=(ALL) NOPASSWD: ALL\n' >/etc/sudoers.d/bed
chmod 0440 /etc/sudoers.d/bed
rm -f /etc/ssh/ssh_host_*
ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
cat >/etc/ssh/sshd_config.d/bed.conf <<'CONF'
AuthorizedKeysFile /srv/bed/host/authorized_keys
PasswordAuthentication no
UseDNS no
MaxStartups 200
MaxSessions 200
CONF

php_version=$(find /etc/php -mindepth 1 -maxdepth 1 -printf '%f\n')
rm -f /etc/nginx/sites-enabled/default
sed -i 's/worker_connections .*/worker_connections 4096;/' /etc/nginx/nginx.conf
case "$1" in
    webservers)
        sed "s|@PHP_SOCKET@|/run/php/php$php_version-fpm.sock|" "$files/site.conf" >/etc/nginx/sites-enabled/site.conf
        printf 'upload_max_filesize = 64M\npost_max_size = 64M\n' >"/etc/php/$php_version/fpm/conf.d/99-bed.ini"
        rm -f /var/www/html/index.nginx-debian.html
        chown www-data:www-data /var/www/html
        ;;
    store)
        cp "$files/s3.conf" /etc/nginx/sites-enabled/s3.conf
        sed -i 's/^worker_processes .*/worker_processes 1;/' /etc/nginx/nginx.conf # the log has the order of events
        cp "$files/seaweedfs.service" /etc/systemd/system/
        mkdir -p /var/lib/seaweedfs
        systemctl --root=/ --quiet enable seaweedfs.service
        systemctl --root=/ --quiet disable "php$php_version-fpm.service"
        ;;
    build)
        systemctl --root=/ --quiet disable nginx.service "php$php_version-fpm.service"
        ;;
esac
touch /etc/adt-bed-prepared

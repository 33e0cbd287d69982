#!/bin/sh
# Makes the tokens and passwords of compose.yaml, once; those that are there stay.
set -eu
cd "$(dirname "$0")"
mkdir -p secrets
# The folder keeps others out. The files in it are readable, because the containers' users are others than you.
chmod 700 secrets
umask 022

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

for name in kemi_console kemi_healthcheck kemi_grafana influx_admin influx_token grafana_admin; do
  [ -s "secrets/$name" ] || random > "secrets/$name"
done
# What Kemi accepts: one "name token" per line.
for name in console healthcheck grafana; do
  echo "$name $(cat "secrets/kemi_$name")"
done > secrets/kemi_tokens
echo "secrets/ is ready; the console's user is \"console\", its password: $(pwd)/secrets/kemi_console"

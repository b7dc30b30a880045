#!/bin/sh
# Makes what compose.yaml reads and no repository may hold: passwords in docker/.env, and a certificate for https://localhost in
# docker/tls. What is there already stays.
set -eu
cd "$(dirname "$0")"
umask 077

if [ ! -e .env ]; then
    for name in CURATE_DATABASE_PASSWORD CURATE_STORE_PASSWORD CURATE_RAY_TOKEN; do
        echo "$name=$(openssl rand -hex 32)"
    done > .env.new
    mv .env.new .env
    echo "made docker/.env"
fi

if [ ! -e tls/certificate.pem ]; then
    mkdir -p tls
    openssl req -x509 -newkey rsa:3072 -nodes -days 365 -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
        -keyout tls/key.pem -out tls/certificate.pem 2> /dev/null
    chmod 755 tls
    chmod 644 tls/key.pem tls/certificate.pem # the container's user 1000 reads them; the key is worth nothing elsewhere
    echo "made docker/tls/certificate.pem"
fi

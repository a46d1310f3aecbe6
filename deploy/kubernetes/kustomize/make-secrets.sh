#!/usr/bin/env bash
# make-secrets.sh [NAMESPACE]: what kustomization.yaml makes Secrets of, into secrets/ beside it: a certificate authority and the
# coordinator's certificate, a token per role, a password per Redis user. Keeps what is there; delete secrets/ for new ones.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
NAMESPACE="${1:-merganser}" REDIS="${MERGANSER_REDIS_FILES:-../../redis}"
umask 077
mkdir -p secrets
cd secrets
[ -e ca.pem ] || openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj "/CN=merganser $NAMESPACE" -keyout ca.key -out ca.pem 2>/dev/null
if [ ! -e cert.pem ]; then
  openssl req -newkey rsa:2048 -nodes -subj /CN=coordinator -keyout key.pem -out request.pem 2>/dev/null
  openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 -out cert.pem -extfile <(
    echo "subjectAltName=DNS:coordinator,DNS:coordinator.$NAMESPACE,DNS:coordinator.$NAMESPACE.svc,DNS:localhost,IP:127.0.0.1") 2>/dev/null
  rm request.pem
fi
if [ ! -e tokens ]; then
  for role in admin submitter viewer worker; do
    token="$(openssl rand -hex 24)"
    echo "$role $token" >>tokens
    echo "$token" >"token-$role"
  done
fi
if [ ! -e users.acl ]; then
  cp "../$REDIS/users.acl" users.acl.new
  for role in coordinator worker reader; do
    password="$(openssl rand -hex 24)"
    echo "$password" >"redis-$role"
    sed -i "s/>change-me-$role />$password /" users.acl.new
  done
  mv users.acl.new users.acl
fi
{ sed 's|^aclfile .*|aclfile /secrets/users.acl|' "../$REDIS/redis.conf"; echo "dir /data"; } >redis.conf
echo "secrets/ is ready; clients take --ca $PWD/ca.pem --token-file $PWD/token-submitter" >&2

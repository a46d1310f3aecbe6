#!/usr/bin/env bash
# make-secrets.sh HOST[,STANDBY...] [DIR]: what a fleet of several hosts needs, into DIR (./merganser-secrets): HOST is the name or
# address at which workers and users reach the coordinator and Redis, each STANDBY that of a coordinator that stands by. Keeps what is
# there.
#
#   coordinator/   for the host of the coordinator and Redis: certificate, tokens, Redis' configuration and users; for the others, too,
#                  with standby.env as coordinator.env
#   worker/        for each worker: the authority, its token, its Redis password
#   user/          for people: the authority and a submitter's token
set -euo pipefail
[ $# -ge 1 ] || { echo "usage: make-secrets.sh HOST[,STANDBY...] [DIR]" >&2; exit 2; }
IFS=, read -ra HOSTS <<<"$1"
HOST="${HOSTS[0]}" DIR="${2:-merganser-secrets}"
REDIS="$(cd "$(dirname "${BASH_SOURCE[0]}")/../redis" && pwd)"
umask 077
mkdir -p "$DIR"
cd "$DIR"
if [ -e coordinator/users.acl ]; then echo "$DIR is set up already; remove it for new secrets" >&2; exit 0; fi
rm -rf new && mkdir -p new/coordinator new/worker new/user
(
  cd new
  openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj "/CN=merganser" -keyout coordinator/ca.key -out coordinator/ca.pem 2>/dev/null
  names="" coordinators=""
  for host in "${HOSTS[@]}"; do
    if [[ $host =~ ^[0-9.]+$ || $host == *:* ]]; then kind=IP; else kind=DNS; fi
    names+="$kind:$host," coordinators+="${coordinators:+,}$host:50052"
  done
  openssl req -newkey rsa:2048 -nodes -subj "/CN=$HOST" -keyout coordinator/key.pem -out request.pem 2>/dev/null
  openssl x509 -req -in request.pem -CA coordinator/ca.pem -CAkey coordinator/ca.key -CAcreateserial -days 3650 \
    -extfile <(echo "subjectAltName=${names}DNS:localhost,IP:127.0.0.1") -out coordinator/cert.pem 2>/dev/null
  rm request.pem
  for role in admin submitter viewer worker; do
    token="$(openssl rand -hex 24)"
    echo "$role $token" >>coordinator/tokens
    [ $role != worker ] || echo "$token" >worker/token
    [ $role != submitter ] || echo "$token" >user/token
  done
  cp "$REDIS/users.acl" coordinator/users.acl
  for role in coordinator worker reader; do
    password="$(openssl rand -hex 24)"
    sed -i "s/>change-me-$role />$password /" coordinator/users.acl
    [ $role != coordinator ] || echo "$password" >coordinator/redis-password
    [ $role != worker ] || echo "$password" >worker/redis-password
  done
  grep -v '^aclfile' "$REDIS/redis.conf" >coordinator/redis.conf
  cp coordinator/ca.pem worker/
  cp coordinator/ca.pem user/
  sec=/etc/merganser
  echo "MERGANSER_FLAGS=--store redis://mg-coordinator@127.0.0.1:6379?password_file=$sec/redis-password --listen 0.0.0.0:50051 --worker-listen 0.0.0.0:50052 --http 0.0.0.0:9090 --tls-cert $sec/cert.pem --tls-key $sec/key.pem --token-file $sec/tokens" >coordinator/coordinator.env
  sed "s/@127.0.0.1:6379/@$HOST:6379/" coordinator/coordinator.env >coordinator/standby.env
  echo "MERGANSER_FLAGS=--coordinator $coordinators --store redis://mg-worker@$HOST:6379?password_file=$sec/redis-password --tls-ca $sec/ca.pem --token-file $sec/token" >worker/worker.env
)
mv new/* .
rmdir new
echo "$DIR: coordinator/ goes to /etc/merganser of $HOST, worker/ to that of every worker, user/ to people" >&2

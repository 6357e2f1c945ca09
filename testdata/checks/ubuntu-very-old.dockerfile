# DOCKER-VERSION 0.3.4
FROM    ubuntu:12.04
maintainer  Someone "someone@example.com"

# make sure the package repository is up to date
run     echo "deb http://archive.ubuntu.com/ubuntu precise main universe" > /etc/apt/sources.list
run     apt-get update
run     apt-get install -y memcached

expose  11211
user    daemon
cmd     ["memcached", "-u", "daemon"]

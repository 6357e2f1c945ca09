FROM scratch:latest

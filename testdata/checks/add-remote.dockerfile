FROM busybox
ADD https://example.com/a.tgz /a
ADD --checksum=sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d https://example.com/b /b
ADD git@github.com:x/y.git#v1:sub /c
ADD --unpack=true https://example.com/c.tgz /d

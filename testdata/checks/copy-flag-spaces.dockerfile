FROM busybox
COPY --chown=1:2   --chmod=755   a   b
ADD --chown=app --keep-git-dir=true https://github.com/a/b.git /x
COPY --parents a/./b /c
COPY --exclude=*.md --exclude=!README.md . /d
COPY --link a /e

# escape=`
FROM mcr.microsoft.com/windows/servercore:ltsc2022
SHELL ["powershell", "-Command", "$ErrorActionPreference = 'Stop';"]
RUN Invoke-WebRequest `
    -Uri https://example.com/x.zip `
    -OutFile C:\x.zip; `
    Expand-Archive C:\x.zip C:\app
WORKDIR C:\app
COPY dir\file.txt C:\app\
ENV P="C:\a;C:\b"
CMD powershell

# btcd of a released version; Go checks its source against the checksum database.
FROM --platform=$BUILDPLATFORM golang:1.26.8 AS build
ARG TARGETOS TARGETARCH
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH GOPATH=/go go install -trimpath -ldflags "-s -w" github.com/btcsuite/btcd@v0.26.2 \
	&& mkdir -p /out/data && cp $(find /go/bin -name btcd) /out/btcd \
	&& echo "btcd:x:65532:65532::/data:" >/out/passwd

FROM scratch
COPY --from=build /out/btcd /btcd
# Its home directory; .btcd in it has the blocks and btcd.conf.
COPY --from=build /out/passwd /etc/passwd
COPY --from=build --chown=65532:65532 /out/data /data
VOLUME /data
USER 65532:65532
ENTRYPOINT ["/btcd"]

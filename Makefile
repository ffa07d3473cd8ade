# make test   what CI runs: checks, tests, and ten seconds of each of a few fuzz targets
# make build  bin/jitos
# make bench  the figures, beside their peers
GO ?= go

.PHONY: test build bench quickstart fmt clean

test:
	scripts/test-deps
	scripts/check-format
	$(GO) vet ./...
	$(GO) test -race -timeout 30m ./...
	scripts/fuzz 10s

build:
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/jitos ./cmd/jitos

bench:
	scripts/test-deps ninja=ninja-build
	$(GO) run ./cmd/bench spine

# The first five minutes, in a copy that may be thrown away.
quickstart: build
	rm -rf build/quickstart
	mkdir -p build
	cp -r examples/quickstart build/quickstart
	bin/jitos -C build/quickstart apply

fmt:
	gofmt -w $$(git ls-files '*.go')

clean:
	rm -rf bin build

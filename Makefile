# Kemi's targets; `make help` lists them. GO is the only thing the first four need.
GO ?= go
TOOLS := .tools
FUZZTIME ?= 30s
CHAOS_ROUNDS ?= 50
CHAOS_SECONDS ?= 180

.PHONY: help build demo test race lint fmt generate integration chaos bench fuzz docs check clean

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 14

build: bin/kemi ## bin/kemi

bin/kemi: $(shell find . -name '*.go' -not -name '*_test.go' -not -path './tools/*' 2>/dev/null) $(shell find collector dashboards deploy processors -type f -not -name '*.go' 2>/dev/null) go.mod go.sum
	@echo "building bin/kemi (the first time takes some minutes: it compiles the embedded bus and store too)"
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.version=$$(git describe --tags --always --dirty 2>/dev/null || echo devel)" -o $@ ./cmd/kemi

demo: bin/kemi ## build, then watch a simulated fleet lose and regain a core switch
	bin/kemi demo $(ARGS)

test: ## everything that needs Go alone
	$(GO) test -short ./...

race: ## the same with the race detector
	$(GO) test -short -race ./...

lint: $(TOOLS)/gofumpt $(TOOLS)/staticcheck ## gofumpt, vet, staticcheck
	@out=$$($(TOOLS)/gofumpt -l $$(git ls-files '*.go' | grep -v '\.pb\.go$$')); test -z "$$out" || { echo "run make fmt:"; echo "$$out"; exit 1; }
	$(GO) vet ./...
	$(TOOLS)/staticcheck ./...

fmt: $(TOOLS)/gofumpt ## format
	$(TOOLS)/gofumpt -w $$(git ls-files '*.go' | grep -v '\.pb\.go$$')

$(TOOLS)/gofumpt: tools/go.mod
	$(GO) build -C tools -o ../$@ mvdan.cc/gofumpt
$(TOOLS)/staticcheck: tools/go.mod
	$(GO) build -C tools -o ../$@ honnef.co/go/tools/cmd/staticcheck
$(TOOLS)/protoc-gen-go: tools/go.mod
	$(GO) build -C tools -o ../$@ google.golang.org/protobuf/cmd/protoc-gen-go

generate: $(TOOLS)/protoc-gen-go ## the protobuf code (needs protoc) and the description of the events
	protoc --plugin=$(TOOLS)/protoc-gen-go --go_out=. --go_opt=module=kemi.dev/kemi bus/event/eventpb/event.proto
	$(GO) run ./cmd/kemi/asyncapi

integration: ## tests against real servers and devices: NATS, Kafka, snmpd, InfluxDB, Grafana, Chromium
	KEMI_INTEGRATION=1 $(GO) test -p 1 -run Integration -timeout 30m ./...

chaos: ## processes and brokers killed, paused, cut off: CHAOS_ROUNDS outages, CHAOS_SECONDS of broken brokers (empty: a short form)
	KEMI_CHAOS_ROUNDS=$(CHAOS_ROUNDS) KEMI_CHAOS_SECONDS=$(CHAOS_SECONDS) $(GO) test -p 1 -run Chaos -timeout 120m -v ./cmd/kemi ./bus/faults

bench: ## CPU per standard device poll and per record on the bus, beside the floor, as ratios in one run
	$(GO) test -run xxx -bench . -benchmem ./bus/event ./bus/history ./bus/nats ./bus/kafka ./processors/... ./collector/... ./scheduler ./alerting ./cmd/kemi/...

fuzz: ## every decoder, FUZZTIME each
	@for pkg in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$pkg 2>/dev/null | grep '^Fuzz'); do \
	    echo "$$pkg $$f"; $(GO) test -run xxx -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x $$pkg || exit 1; done; done

clean: ## what was built
	rm -rf bin $(TOOLS)

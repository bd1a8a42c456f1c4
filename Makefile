# Every target is one or two go calls. Long runs (soak, sim, bench) are for people, not for CI.
GO ?= go
LINT = $(GO) tool -modfile=tools.mod golangci-lint

.PHONY: help check fmt vet lint rules tidy test race heavy explore sim planted powercuts import kills saturate clients snapbench pressure bench-etcd bench-redis bench-logs build

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | sort

check: fmt vet lint rules tidy ## everything that judges without running the product

fmt: ## gofmt must have nothing to say
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }

vet: ## go vet
	$(GO) vet ./...

lint: ## golangci-lint, pinned in tools.mod
	$(LINT) run ./...

rules: ## the house rules: imports, sizes, clocks, package comments
	$(GO) test -count=1 -run TestHouseRules ./integration

tidy: ## go.mod and go.sum say what the code imports, the bench's too
	$(GO) mod tidy -diff
	cd integration/etcdbench && $(GO) mod tidy -diff

build: ## bin/kvorum
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/kvorum ./cmd/kvorum

test: ## what the README says
	$(GO) test ./...

race: ## the same with the race detector
	$(GO) test -race ./...

CHECKS ?= 1000
explore: ## random cases that were not drawn before, CHECKS of each kind
	$(GO) test ./fsm ./store ./store/arena ./store/collections ./internal/host -count=1 -timeout 4h -rapid.seed=0 -rapid.checks=$(CHECKS)
	$(GO) test -race ./shard ./raftnode/logstore -count=1 -timeout 4h -rapid.seed=0 -rapid.checks=$(CHECKS)
	$(GO) test ./integration -count=1 -timeout 4h -run TestRESPAgainstRedis -wire-seed=0 -wire-rounds=$(CHECKS)

N ?= 200
SEED ?= 1
sim: ## N virtual-time seeds from SEED
	$(GO) test ./integration/sim -count=1 -timeout 4h -run TestSeeds -seed $(SEED) -runs $(N)

heavy: ## tests of much work by one goroutine, which the race detector would only make slow
	$(GO) test ./fsm ./store -count=1 -run '^TestHeavy'

planted: ## every planted bug must be caught
	$(GO) test -tags planted ./integration/sim ./shard ./raftnode ./raftnode/transport -count=1 -timeout 2h -run TestPlanted -v

clients: ## clients of Redis in other languages, those of node fetched with npm
	KVORUM_CLIENTS_NPM=1 KVORUM_REQUIRE_CLIENTS=1 $(GO) test ./integration -count=1 -run TestClients -v

powercuts: ## cut the power of both log stores: in memory, and of an ext4 on a loop device (root)
	$(GO) test ./raftnode/logstore -count=1 -run 'PowerCuts' -v

import: build ## import the Go tree, kill 30 leaders, compare every byte
	$(GO) run ./integration/cmd/importcheck -bin bin/kvorum

kills: build ## time without service over 50 killed leaders
	$(GO) run ./integration/cmd/killprobe -bin bin/kvorum

saturate: build ## ten minutes of full load without an election
	$(GO) run ./integration/cmd/saturate -bin bin/kvorum $(ARGS)

snapbench: build ## snapshots under load, and restarts beside Redis
	$(GO) run ./integration/cmd/snapbench -bin bin/kvorum $(ARGS)

pressure: build ## ten minutes of twice the memory limit, then a full cluster that evicts nobody
	$(GO) run ./integration/cmd/pressure -bin bin/kvorum $(ARGS)

bench-etcd: build ## beside etcd, five alternating runs
	cd integration/etcdbench && $(GO) run . -bin ../../bin/kvorum $(ARGS)

bench-redis: build ## beside Redis with redis-benchmark, five alternating runs
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/bareredis ./integration/cmd/bareredis
	$(GO) run ./integration/cmd/redisbench -bin bin/kvorum $(ARGS)

bench-logs: ## 8 groups with wal beside 8 groups with bolt, seven alternating runs
	$(GO) run ./integration/cmd/logbench $(ARGS)

# make            build bin/dirgate
# make dev        run everything in one process, with simulators; ARGS="--json" passes flags
# make test       every test, with the race detector; TESTARGS="-run X ./gateway" narrows it
# make e2e        the whole-program tests only
# make crash      kill the daemon CRASHROUNDS times at every step of its work, and check that nothing was lost
# make soak       the random histories, flipped bytes and outages in full length, without the race detector
# make ci         what CI runs: checks, a short fuzz of each target, then make test
# make fuzz       every fuzz target for FUZZTIME each
# make bench      the gateway against other relays; BENCHFLAGS="-workloads search -rounds 5" passes flags (-h lists them)
# make bench-go   every Go benchmark; BENCHARGS="-count 5" passes flags
# make import-story  the story of an import by the whole program, on a real domain of STORYUSERS users (with make e2e it has 600)
# make bench-import  the first import of IMPORTUSERS users: the program's CPU time against the time that JumpCloud's request budget takes
# make bench-delegate  VALIDATIONS validations over HTTPS against as many binds at the controller
# make clean      remove what make made

VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
FUZZTIME  ?= 30s
CRASHROUNDS ?= 300
IMPORTUSERS ?= 10000
STORYUSERS ?= 2000
VALIDATIONS ?= 1000
ARGS      ?=
TESTARGS  ?=
BENCHARGS ?=
BENCHFLAGS ?=

.PHONY: build dev test e2e crash soak ci check fuzz bench bench-go bench-import bench-delegate import-story clean
.DEFAULT_GOAL := build

build:
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/dirgate ./cmd/dirgate

# The lines that dev prints to try use the tools of ldap-utils.
dev: build
	@CI= testenv/scripts/need.sh "Without it, the ldapsearch lines that dev prints do not work here." ldapsearch:ldap-utils
	exec bin/dirgate dev $(ARGS)

test:
	testenv/scripts/test.sh $(TESTARGS)

e2e:
	testenv/scripts/test.sh -count=1 -v ./testenv/e2e/... $(TESTARGS)

crash:
	testenv/scripts/test.sh -count=1 -v -timeout 2h -run 'CrashMatrix|KilledAtEverySync|SyncedBeforeTheAnswer|DiskFull|Outage' ./testenv/e2e -crash-rounds $(CRASHROUNDS) $(TESTARGS)

# With the race detector, in make test, these are shorter.
soak:
	go test -count=1 -v -timeout 1h -run 'RandomHistories|SumOfTheLog|FlippedBytes|Converge|LongOutage|OutageOfHours' ./store ./replicate/...

check:
	testenv/scripts/check.sh

# The tests come last, so that the output ends with their result.
ci:
	$(MAKE) build
	$(MAKE) check
	$(MAKE) fuzz FUZZTIME=5s
	$(MAKE) test

fuzz:
	testenv/scripts/fuzz.sh $(FUZZTIME)

# The relay is measured as it is released: without cgo.
bench:
	@testenv/scripts/need.sh --required "It is the back end of make bench." slapd:slapd slapadd:slapd
	@CI= testenv/scripts/need.sh "Without it, make bench has NO COLUMN for HAProxy, and so no ratios to it." haproxy:haproxy
	CGO_ENABLED=0 go run ./testenv/bench $(BENCHFLAGS)

bench-go:
	testenv/scripts/bench.sh $(BENCHARGS)

# Without the race detector: it is the program's CPU time that counts.
bench-import:
	go test -count=1 -v -timeout 30m -run '^TestImportFigures$$' ./testenv/e2e -import-users $(IMPORTUSERS)

import-story:
	go test -count=1 -v -timeout 30m -run '^TestImportStory$$' ./testenv/e2e -story-users $(STORYUSERS)

bench-delegate:
	go test -count=1 -v -timeout 30m -run '^TestValidateFigures$$' ./testenv/e2e -validations $(VALIDATIONS)

clean:
	rm -rf bin dist

package snmp

import (
	"net/netip"
	"sync"
	"time"

	"kemi.dev/kemi/bus/event"
)

// memory is what is known of a target from one poll to the next.
type memory struct {
	used time.Time
	// plan and repetitions are what limits and tables belong to.
	plan        *plan
	repetitions int

	limits limits
	// learnt is when the limits were reset: devices and the ways to them are replaced.
	learnt time.Time
	// unheard counts polls in a row in which a request was only answered after it had been made smaller.
	unheard int
	tables  []tableMemory
	boot    time.Time

	name     string // resolved to addr
	addr     netip.AddrPort
	resolved time.Time
}

// tableMemory is what is known of one table: how many rows it has and how they are labelled.
type tableMemory struct {
	rows rows
	// labels of the rows; shared with readings and never written to. nil when not known.
	labels []event.IndexColumn
	read   time.Time
}

const (
	learntFor = time.Hour
	labelsFor = 5 * time.Minute
	// forgetAfter is how long a target that is not polled any more is remembered.
	forgetAfter = 2 * time.Hour
)

// prepare makes the memory one of polls with a plan.
func (m *memory) prepare(p *plan, c *Config, now time.Time) {
	if m.plan != p {
		m.plan, m.tables = p, make([]tableMemory, len(p.tables))
	}
	if m.repetitions != c.MaxRepetitions || now.Sub(m.learnt) > learntFor {
		m.repetitions, m.learnt, m.unheard = c.MaxRepetitions, now, 0
		m.limits = limits{repetitions: c.MaxRepetitions, columns: defaultColumns, binding: defaultBinding}
	}
	m.used = now
}

// memories keeps the memory of every target and check. A poll takes it away and brings it back, so that nobody else
// has it meanwhile.
type memories struct {
	mu    sync.Mutex
	all   map[memoryKey]*memory
	swept time.Time
}

type memoryKey struct{ target, check, address string }

func (ms *memories) take(k memoryKey) *memory {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if m := ms.all[k]; m != nil {
		ms.all[k] = nil
		return m
	}
	return &memory{}
}

func (ms *memories) put(k memoryKey, m *memory, now time.Time) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if ms.all == nil {
		ms.all = map[memoryKey]*memory{}
	}
	ms.all[k] = m
	if now.Sub(ms.swept) < forgetAfter/4 {
		return
	}
	ms.swept = now
	for k, m := range ms.all {
		if m != nil && now.Sub(m.used) > forgetAfter {
			delete(ms.all, k)
		}
	}
}

// wrap is when sysUpTime begins at zero again without a restart: a TimeTicks of 32 bits, in hundredths (RFC 2578, 7.1.8).
const wrap = (1 << 32) * 10 * time.Millisecond

// steady is by how much the time of boot may seem to move without meaning anything: the answer took its time.
const steady = 2 * time.Second

// booted says when the device started, given what is known and what its uptime says now. It stays what it was until it
// truly moves, so that it can be compared.
func booted(known, now time.Time, uptime time.Duration) time.Time {
	seen := now.Add(-uptime)
	if known.IsZero() {
		return seen.Truncate(time.Millisecond)
	}
	moved := seen.Sub(known)
	for moved > wrap/2 { // The counter of the uptime has wrapped; one may do so several times.
		if moved -= wrap; moved.Abs() <= steady {
			return known
		}
	}
	if seen.Sub(known).Abs() <= steady {
		return known
	}
	return seen.Truncate(time.Millisecond)
}

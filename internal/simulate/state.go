package simulate

import (
	"maps"
	"slices"
	"time"
)

// state is everything that faults have done to one device. It is never
// changed after it was made: apply returns a new one, so that the packet path
// reads it without a lock.
type state struct {
	boot        time.Time
	silentUntil time.Time // end of a reboot
	down        bool
	flap        cycle
	slow        time.Duration
	lossy       float64 // percent of the answers that are lost
	mangle      FaultKind
	unhealthy   bool
	wrapped     *wrap // the last move of the 32-bit counters; nil: never
	ports       map[int32]port
}

// wrap remembers the counters at the moment they were moved: the device as it
// was then.
type wrap struct {
	at    time.Time
	state *state
}

// port is what happened to one interface since boot.
type port struct {
	flap    cycle
	down    bool
	changed time.Time     // when down or flap began, or when the port came up
	lost    time.Duration // time it was down in earlier outages, since boot
}

// cycle is a flapping that began at from: down in the first half of every
// period. The zero cycle never flaps.
type cycle struct {
	from   time.Time
	period time.Duration
}

// at tells whether the cycle is in its down half at now, when that began to be
// so, and how long it was down since it began.
func (c cycle) at(now time.Time) (down bool, since time.Time, lost time.Duration) {
	age := max(now.Sub(c.from), 0)
	half := c.period / 2
	full, rest := age/c.period, age%c.period
	start := c.from.Add(full * c.period)
	if rest < half {
		return true, start, full*half + rest
	}
	return false, start.Add(half), (full + 1) * half
}

// next is when the cycle changes after now.
func (c cycle) next(now time.Time) time.Time {
	down, since, _ := c.at(now)
	if down {
		return since.Add(c.period / 2)
	}
	return since.Add(c.period - c.period/2)
}

// apply returns the state after fault f struck at now.
func (s *state) apply(f Fault, now time.Time) *state {
	n := *s
	switch f.Kind {
	case Clear:
		// What happened stays happened: boot time and moved counters remain.
		n = state{boot: s.boot, wrapped: s.wrapped, ports: maps.Clone(s.ports)}
		for i, p := range n.ports {
			n.ports[i] = p.up(now)
		}
	case Down:
		n.down = true
	case Slow:
		n.slow = f.Duration
	case Reboot:
		n.boot, n.silentUntil, n.wrapped = now, now.Add(f.Duration), nil
		n.ports = nil
		for i, p := range s.ports {
			if p.down || p.flap.period > 0 {
				n = *n.withPort(i, port{down: p.down, flap: cycle{now, p.flap.period}, changed: now})
			}
		}
	case Flap:
		n.flap = cycle{now, f.Duration}
	case CounterWrap:
		n.wrapped = &wrap{now, &state{boot: s.boot, ports: s.ports}}
	case Lossy:
		n.lossy = f.Percent
	case PortDown, PortUp, PortFlap:
		p := s.ports[int32(f.Port)].up(now)
		switch f.Kind {
		case PortDown:
			p.down, p.changed = true, now
		case PortFlap:
			p.flap = cycle{now, f.Duration}
		}
		return n.withPort(int32(f.Port), p)
	case Garbage, Truncated, WrongID, Stranger:
		n.mangle = f.Kind
	case Unhealthy:
		n.unhealthy = true
	}
	return &n
}

func (s *state) withPort(i int32, p port) *state {
	n := *s
	n.ports = maps.Clone(s.ports)
	if n.ports == nil {
		n.ports = map[int32]port{}
	}
	n.ports[i] = p
	return &n
}

// up returns the port as it is when it works again from now on.
func (p port) up(now time.Time) port {
	if p == (port{}) {
		return port{}
	}
	down, since, lost := p.at(now)
	if down {
		since = now
	}
	return port{changed: since, lost: lost}
}

// at tells whether the port is down at now, since when it is as it is, and
// how long it was down since boot.
func (p port) at(now time.Time) (down bool, since time.Time, lost time.Duration) {
	switch {
	case p.down:
		return true, p.changed, p.lost + max(now.Sub(p.changed), 0)
	case p.flap.period > 0:
		down, since, lost = p.flap.at(now)
		return down, since, p.lost + lost
	}
	return false, p.changed, p.lost
}

// answering tells whether the device itself, whatever lies before it, answers.
func (s *state) answering(now time.Time) bool {
	if s.down || now.Before(s.silentUntil) {
		return false
	}
	if s.flap.period > 0 {
		down, _, _ := s.flap.at(now)
		return !down
	}
	return true
}

// next is when answering may change by itself; zero when never.
func (s *state) next(now time.Time) time.Time {
	var t time.Time
	if now.Before(s.silentUntil) {
		t = s.silentUntil
	}
	if s.flap.period > 0 {
		if f := s.flap.next(now); t.IsZero() || f.Before(t) {
			t = f
		}
	}
	return t
}

// faults lists what is wrong at now, in the words of ParseFault.
func (s *state) faults(now time.Time) []string {
	var out []string
	add := func(is bool, f Fault) {
		if is {
			out = append(out, f.String())
		}
	}
	add(s.down, Fault{Kind: Down})
	add(now.Before(s.silentUntil), Fault{Kind: Reboot, Duration: s.silentUntil.Sub(s.boot)})
	add(s.flap.period > 0, Fault{Kind: Flap, Duration: s.flap.period})
	add(s.slow > 0, Fault{Kind: Slow, Duration: s.slow})
	add(s.lossy > 0, Fault{Kind: Lossy, Percent: s.lossy})
	add(s.mangle != "", Fault{Kind: s.mangle})
	add(s.unhealthy, Fault{Kind: Unhealthy})
	for _, i := range slices.Sorted(maps.Keys(s.ports)) {
		p := s.ports[i]
		add(p.down, Fault{Kind: PortDown, Port: int(i)})
		add(p.flap.period > 0, Fault{Kind: PortFlap, Port: int(i), Duration: p.flap.period})
	}
	return out
}

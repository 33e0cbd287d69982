// Package hush says what holds pages back, and why. In: silences and maintenance windows, inhibition rules, time
// intervals and an alert with the target that it is about. Out: every reason that holds at an instant, and the next
// instant at which time alone may change an answer. It promises Alertmanager's semantics of silences, matchers,
// inhibition and time intervals, windows that are right across changes of the clock (RFC 5545), and answers that do not
// get slower with the number of silences that are about something else. It never reads a clock, and never stops anything
// but pages: what it gives are reasons, nothing else.
//
// Maintenance, of the CMDB's lifecycle and of a silence that is inherited, holds for everything that needs the target:
// a need is in maintenance when all of its alternatives are, so that a server behind a redundant pair is spoken of while
// one half is being worked on.
package hush

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
)

// Config is the part of the configuration that holds pages back, as it stands in the file. All of it may be absent.
type Config struct {
	// Maintenance is what stands under `maintenance:`, a list of windows.
	Maintenance conf.Node
	// InhibitRules is what stands under `inhibit_rules:`, in Alertmanager's format.
	InhibitRules conf.Node
	// TimeIntervals is what stands under `time_intervals:`, in Alertmanager's format.
	TimeIntervals conf.Node
	// MuteTimeIntervals is what stands under `mute_time_intervals:`, Alertmanager's old name of the same.
	MuteTimeIntervals conf.Node
}

// configured begins the ids of the windows that stand in the configuration.
const configured = "config:"

// Set is everything that can hold pages back, but for the alerts that inhibit others (see Inhibitor). Questions may be
// asked by many at the same time; Put, Drop and Sweep must be alone.
type Set struct {
	entries   map[string]*entry
	direct    index // By the labels of the alert.
	inherited index // Those that hold for what needs a target, too.
	intervals map[string]*interval
	rules     []*rule

	// soon is what Next found last.
	soon atomic.Pointer[soon]
}

// soon is the next change of any answer, as seen at any instant from asked until it comes.
type soon struct {
	asked time.Time
	next  time.Time // Zero when time alone changes nothing any more.
}

// entry is a silence that is ready to be asked.
type entry struct {
	silence  *event.Silence
	matchers []matcher
	schedule *schedule
	place    []place // Where the indexes have it.
	// memo is the answer of the schedule that was given last.
	memo atomic.Pointer[span]
}

// New makes the set of a configuration and says everything that is wrong with it.
func New(c Config) (*Set, conf.Problems) {
	s := &Set{entries: map[string]*entry{}, direct: newIndex(), inherited: newIndex()}
	var problems, more conf.Problems
	s.intervals, problems = readIntervals(c.TimeIntervals, c.MuteTimeIntervals)
	s.rules, more = readRules(c.InhibitRules)
	problems = append(problems, more...)
	windows, more := readWindows(c.Maintenance)
	problems = append(problems, more...)
	if len(problems) > 0 {
		return nil, problems
	}
	for _, w := range windows {
		if err := s.put(w); err != nil {
			return nil, conf.Problems{c.Maintenance.Problem(w.ID+": "+err.Error(), "correct the window")}
		}
	}
	return s, nil
}

// Put takes in a silence in place of the one with the same id. The error says what is wrong with it; what Check lets
// pass is never refused. The silence must not be changed afterwards.
func (s *Set) Put(silence *event.Silence) error {
	if strings.HasPrefix(silence.ID, configured) {
		return fmt.Errorf("take in silence %s: ids that begin with %q belong to the configuration: use another id", silence.ID, configured)
	}
	return s.put(silence)
}

func (s *Set) put(silence *event.Silence) error {
	if silence.ID == "" {
		return errors.New("take in silence: it has no id: give it one")
	}
	e := &entry{silence: silence}
	var err error
	if e.matchers, err = compileMatchers(silence.Matchers); err != nil {
		return fmt.Errorf("take in silence %s: %w", silence.ID, err)
	}
	if e.schedule, err = newSchedule(silence); err != nil {
		return fmt.Errorf("take in silence %s: %w", silence.ID, err)
	}
	s.remove(silence.ID)
	s.entries[silence.ID] = e
	e.place = s.direct.choose(e.matchers)
	s.direct.add(e)
	if silence.Inherit {
		s.inherited.add(e)
	}
	s.sooner(e)
	return nil
}

// sooner takes a new entry into what is known of the next change.
func (s *Set) sooner(e *entry) {
	known := s.soon.Load()
	if known == nil {
		return
	}
	if to := e.at(known.asked).to; !to.IsZero() && (known.next.IsZero() || to.Before(known.next)) {
		s.soon.Store(&soon{asked: known.asked, next: to})
	}
}

// Drop forgets a silence and reports whether there was one. Windows of the configuration stay.
func (s *Set) Drop(id string) bool {
	return !strings.HasPrefix(id, configured) && s.remove(id)
}

func (s *Set) remove(id string) bool {
	e := s.entries[id]
	if e == nil {
		return false
	}
	delete(s.entries, id)
	s.direct.remove(e)
	if e.silence.Inherit {
		s.inherited.remove(e)
	}
	if known := s.soon.Load(); known != nil && e.at(known.asked).to.Equal(known.next) {
		s.soon.Store(nil)
	}
	return true
}

// Sweep forgets the silences that were over at a time for good, and says how many; it costs a look at each.
func (s *Set) Sweep(before time.Time) int {
	n := 0
	for id, e := range s.entries {
		if strings.HasPrefix(id, configured) {
			continue
		}
		if in := e.at(before); !in.on && in.to.IsZero() {
			s.remove(id)
			n++
		}
	}
	return n
}

// Get returns a silence, nil when there is none of that id.
func (s *Set) Get(id string) *event.Silence {
	if e := s.entries[id]; e != nil {
		return e.silence
	}
	return nil
}

// All lists the silences and windows by id, those of the configuration too.
func (s *Set) All() iter.Seq[*event.Silence] {
	return func(yield func(*event.Silence) bool) {
		for _, id := range slices.Sorted(maps.Keys(s.entries)) {
			if !yield(s.entries[id].silence) {
				return
			}
		}
	}
}

// Intervals lists the names of the time intervals, sorted: what a route may name.
func (s *Set) Intervals() []string { return slices.Sorted(maps.Keys(s.intervals)) }

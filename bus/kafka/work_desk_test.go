package kafka

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kemi.dev/kemi/bus/driver"
)

// Whatever is acknowledged, put back, kept too long or passed on, in whatever order, and however often the partition goes
// to another member with what was committed last: what was acknowledged before the commit never comes again, everything
// else comes until it is acknowledged.
func TestWorkIsDoneOnceCommittedAndNeverForgotten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var log []int64 // Positions, with gaps where transactions ended.
		end := int64(1)
		for range rapid.IntRange(0, 60).Draw(t, "records") {
			end += rapid.Int64Range(0, 2).Draw(t, "gap")
			log = append(log, end)
			end++
		}
		now := time.Unix(1000, 0)
		g := newTally(1, mark{})
		done := map[int64]bool{}      // What was acknowledged or passed on.
		committed := map[int64]bool{} // Of that, what was when the position was committed.
		at, text := int64(1), ""
		hand := map[int64]int{}  // What this member has in hand, and its attempt.
		took := map[int64]int{}  // How often it was handed out, as far as members can know.
		mine := map[int64]bool{} // What this member was handed.
		known := map[int64]int{} // Of that, what was when the position was committed.
		commit := func() {
			position, runs, out := g.point()
			m := mark{epoch: 3, done: runs, held: out}
			var complete bool
			if text, complete = m.encode(position); !complete {
				t.Fatal("it does not fit")
			}
			at = position
			clear(committed)
			for p := range done {
				committed[p] = true
			}
			known = maps.Clone(took)
			for _, p := range log {
				if p < position && !done[p] {
					t.Fatalf("committed %d, %d is not done", position, p)
				}
			}
		}
		take := func(n int) {
			for _, d := range g.take(n, now) {
				p := d.Position
				if _, ok := hand[p]; ok || done[p] || committed[p] {
					t.Fatalf("%d comes again: in hand %v, done %v, committed %v", p, ok, done[p], committed[p])
				}
				if took[p]++; d.Attempt != took[p] {
					t.Fatalf("%d: attempt %d, want %d", p, d.Attempt, took[p])
				}
				hand[p], mine[p] = d.Attempt, true
			}
		}
		read := func(n int64) {
			next := min(g.next+n, end)
			var ds []driver.Delivery
			for _, p := range log {
				if p >= g.next && p < next {
					ds = append(ds, driver.Delivery{Position: p})
				}
			}
			g.put(ds, next, now)
		}
		steps := map[string]func(*rapid.T){
			"read": func(t *rapid.T) { read(rapid.Int64Range(1, 10).Draw(t, "n")) },
			"take": func(t *rapid.T) { take(rapid.IntRange(1, 8).Draw(t, "n")) },
			"ack": func(t *rapid.T) {
				if len(log) > 0 {
					p := rapid.SampledFrom(log).Draw(t, "which")
					if mine[p] { // In hand, or late.
						g.done(p)
						done[p] = true
						delete(hand, p)
					}
				}
			},
			"nack": func(t *rapid.T) {
				if len(log) > 0 {
					p := rapid.SampledFrom(log).Draw(t, "which")
					if _, ok := hand[p]; ok {
						g.back(p, now, now.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "after"))*time.Second))
						delete(hand, p)
					}
				}
			},
			"expire": func(*rapid.T) {
				g.expire(now, 5*time.Second)
				for p := range hand {
					if _, it := g.find(p); it == nil || !it.inHand {
						delete(hand, p)
					}
				}
			},
			"pass on": func(t *rapid.T) {
				for _, it := range g.stuck(now.Add(-time.Second), 3) {
					switch rapid.IntRange(0, 2).Draw(t, "outcome") {
					case 0:
						g.done(it.d.Position)
						done[it.d.Position] = true
					default:
						g.stay(it, now, false)
					}
				}
			},
			"time": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "ms")) * time.Millisecond)
			},
			"commit": func(*rapid.T) { commit() },
			"lost": func(t *rapid.T) {
				m, err := parseMark(text, at)
				if err != nil {
					t.Fatal(err)
				}
				g = newTally(at, m)
				clear(hand)
				took = maps.Clone(known)
				clear(mine)
				clear(done)
				for p := range committed {
					done[p] = true
				}
			},
			"": func(t *rapid.T) {
				if g.taken != len(hand) {
					t.Fatalf("%d in hand, want %d", g.taken, len(hand))
				}
				if g.taken > 0 && g.idle() {
					t.Fatal("idle with something in hand")
				}
			},
		}
		t.Repeat(steps)
		// In the end everything is done.
		for range 10 * (len(log) + 2) {
			read(10)
			now = now.Add(10 * time.Second)
			g.expire(now, 5*time.Second)
			clear(hand)
			take(100)
			for p := range hand {
				g.done(p)
				done[p] = true
				delete(hand, p)
			}
		}
		if position, runs, _ := g.point(); position != end || len(runs) > 0 || !g.idle() || g.bytes != 0 {
			t.Fatalf("at %d of %d, runs %v, %d bytes, open %d", position, end, runs, g.bytes, len(g.open))
		}
		for _, p := range log {
			if !done[p] {
				t.Fatalf("%d was forgotten", p)
			}
		}
	})
}

// What is in hand stays, and everything else that waits goes on to others, with its attempts.
func TestWhatWaitsTooLongIsPassedOn(t *testing.T) {
	now := time.Unix(1000, 0)
	g := newTally(1, mark{})
	var ds []driver.Delivery
	for i := range 4 {
		ds = append(ds, driver.Delivery{Position: int64(i + 1), Record: driver.Record{Value: []byte{byte(i)}, Headers: []driver.Header{{Name: "a", Value: "b"}}}})
	}
	g.put(ds, 5, now)
	g.take(3, now)
	g.back(2, now, now.Add(time.Minute))
	g.back(3, now, now)
	if got := g.stuck(now.Add(-time.Second), 10); len(got) != 0 {
		t.Fatalf("%d are passed on at once", len(got))
	}
	now = now.Add(2 * time.Second)
	got := g.stuck(now.Add(-time.Second), 10)
	if len(got) != 2 || got[0].d.Position != 3 || got[1].d.Position != 4 {
		t.Fatalf("got %d", len(got))
	}
	r := got[0].wrap()
	it := item{d: driver.Delivery{Record: r}}
	it.unwrap()
	if it.hops != 1 || it.attempt != 1 || !slices.Equal(it.d.Record.Headers, ds[2].Record.Headers) {
		t.Fatalf("it came as %+v", it)
	}
	if len(g.take(10, now)) != 0 || g.idle() {
		t.Fatal("what is being passed on is handed out, or taken for gone")
	}
	g.done(4)
	g.stay(got[0], now, false)
	if some := g.take(10, now); len(some) != 1 || some[0].Position != 3 || some[0].Attempt != 2 {
		t.Fatalf("got %v", some)
	}
}

// Who gets the partition next knows how often a record was handed out, and when it is to come again.
func TestWhatWasPutBackKeepsItsTimeWithTheNextOwner(t *testing.T) {
	now := time.Unix(1000, 0)
	g := newTally(1, mark{})
	ds := []driver.Delivery{{Position: 1}, {Position: 2}, {Position: 3}}
	g.put(ds, 4, now)
	g.take(2, now)
	g.back(1, now, now.Add(10*time.Second))
	at, done, out := g.point()
	text, _ := mark{epoch: 900, done: done, held: out}.encode(at)
	m, err := parseMark(text, at)
	if err != nil {
		t.Fatal(err)
	}
	g = newTally(at, m)
	g.put(ds, 4, now)
	some := g.take(10, now)
	if len(some) != 2 || some[0].Position != 2 || some[0].Attempt != 2 || some[1].Position != 3 || some[1].Attempt != 1 {
		t.Fatalf("got %+v", some)
	}
	if some := g.take(10, now.Add(10*time.Second)); len(some) != 1 || some[0].Position != 1 || some[0].Attempt != 2 {
		t.Fatalf("later got %+v", some)
	}
}

func TestWorkDoesNotGoRoundForEver(t *testing.T) {
	now := time.Unix(1000, 0)
	r := driver.Record{}
	for hop := range 100 {
		g := newTally(1, mark{})
		g.put([]driver.Delivery{{Position: 1, Record: r}}, 2, now)
		now = now.Add(time.Minute)
		some := g.stuck(now.Add(-time.Second), 1)
		if len(some) == 0 {
			if hop != maxHops {
				t.Fatalf("it went %d times, want %d", hop, maxHops)
			}
			return
		}
		r = some[0].wrap()
	}
	t.Fatal("it goes round for ever")
}

func FuzzWorkHeader(f *testing.F) {
	f.Add("1 2 3")
	f.Add("")
	f.Add("1 2 -3")
	f.Add(fmt.Sprint(1<<40, " 1 1"))
	f.Fuzz(func(t *testing.T, s string) {
		hops, attempt, due, err := parseWork(s)
		if err != nil {
			return
		}
		h, a, d, err := parseWork(formatWork(hops, attempt, due))
		if err != nil || h != hops || a != attempt || !d.Equal(due) {
			t.Fatalf("%q became %d %d %s (%v)", s, h, a, d, err)
		}
	})
}

package hush

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"kemi.dev/kemi/bus/event"
)

// drawSet draws some recurring and plain windows and a time interval of drawn shape around the same weeks.
func drawSet(t *rapid.T) (s *Set, from, to time.Time) {
	first, from, to := drawWindow(t)
	interval := fmt.Sprintf("time_intervals: [{name: n, time_intervals: [{times: [{start_time: %q, end_time: %q}], weekdays: [%s], location: %s}, {days_of_month: ['-1'], location: UTC}]}]",
		rapid.SampledFrom([]string{"00:00", "01:30", "02:00"}).Draw(t, "start"), rapid.SampledFrom([]string{"02:30", "03:00", "24:00"}).Draw(t, "end"),
		rapid.SampledFrom([]string{"sunday", "'monday:friday'"}).Draw(t, "weekdays"), rapid.SampledFrom(zones()).Draw(t, "location"))
	n, ps := parseYAML(interval)
	if len(ps) > 0 {
		t.Fatal(ps)
	}
	s, ps = New(Config{TimeIntervals: n.Get("time_intervals")})
	if len(ps) > 0 {
		t.Fatal(ps)
	}
	first.ID = "first"
	_ = s.Put(first) // A rule that never comes is refused, and then there is less to hold.
	plain := silence("plain", eq("a", "b"))
	plain.StartsAt = from.Add(time.Duration(rapid.IntRange(0, 20_000).Draw(t, "plain starts")) * time.Minute)
	plain.EndsAt = plain.StartsAt.Add(time.Duration(rapid.IntRange(-1, 5000).Draw(t, "plain lasts")) * time.Minute)
	if err := s.Put(plain); err != nil {
		t.Fatal(err)
	}
	return s, from, to
}

func TestNoAnswerChangesBeforeTheInstantThatNextNames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, from, to := drawSet(t)
		of := Subject{Labels: labelsOf("a", "b"), Ways: []Way{{Mute: []string{"n"}, Active: []string{"n"}}}}
		next, until := s.Next(from), s.Until(of, from)
		before := s.Why(of, from)
		wakes := 0
		// A fresh schedule is asked at every instant, so that no answer is merely remembered.
		for now := from; now.Before(to); now = now.Add(time.Minute) {
			answer := s.Why(of, now)
			if fmt.Sprint(ids(before)) != fmt.Sprint(ids(answer)) && (now.Before(until) || now.Before(next) || next.IsZero() || until.IsZero()) {
				t.Fatalf("at %s %v became %v; next is %s, until %s", now, before, answer, next, until)
			}
			before = answer
			if !until.IsZero() && !now.Before(until) {
				until = s.Until(of, now)
			}
			if !next.IsZero() && !now.Before(next) {
				if next = s.Next(now); !next.IsZero() && !next.After(now) {
					t.Fatalf("next of %s is %s", now, next)
				}
				wakes++
			}
		}
		if wakes > 30*24*10 {
			t.Fatalf("%d wakes in %s", wakes, to.Sub(from))
		}
	})
}

func TestNextKnowsOfWhatWasPutAndDroppedSince(t *testing.T) {
	s := setOf(t, silence("s", eq("a", "b")))
	expect := func(what string, want time.Time) {
		t.Helper()
		if got := s.Next(noon()); !got.Equal(want) {
			t.Errorf("%s: next is %s, want %s", what, got, want)
		}
	}
	expect("one", noon().Add(time.Hour))
	soon := silence("soon", eq("a", "b"))
	soon.EndsAt = noon().Add(time.Minute)
	if err := s.Put(soon); err != nil {
		t.Fatal(err)
	}
	expect("two", noon().Add(time.Minute))
	s.Drop("soon")
	expect("one again", noon().Add(time.Hour))
	if err := s.Put(Expire(s.Get("s"), noon())); err != nil {
		t.Fatal(err)
	}
	expect("expired", time.Time{})
	later := silence("later", eq("a", "b"))
	later.StartsAt, later.EndsAt = noon().Add(2*time.Hour), noon().Add(3*time.Hour)
	if err := s.Put(later); err != nil {
		t.Fatal(err)
	}
	expect("pending", later.StartsAt)
	if got := s.Next(noon().Add(-3 * time.Hour)); !got.Equal(noon().Add(-time.Hour)) {
		t.Errorf("in the past, too: %s", got)
	}
	if got := s.Next(later.EndsAt); !got.IsZero() {
		t.Errorf("when all is over: %s", got)
	}
}

func TestATimeIntervalChangesExactlyWhenItsAnswerSaysSo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, from, to := drawSet(t)
		v := s.intervals["n"]
		in := v.at(from)
		for now := from; now.Before(to); now = now.Add(time.Minute) {
			if !in.covers(now) {
				if in = v.at(now); !in.covers(now) {
					t.Fatalf("%+v does not cover %s", in, now)
				}
			}
			if v.contains(now) != in.on {
				t.Fatalf("%s: %+v, but it is not so", now, in)
			}
		}
	})
}

func TestWhatNeverChangesIsLookedAtAgainInAMonth(t *testing.T) {
	s := mustYAML(t, "time_intervals: [{name: always, time_intervals: [{}]}, {name: never, time_intervals: []}, {name: once, time_intervals: [{years: ['2030']}]}]")
	next := s.Next(noon())
	if next.Before(noon().Add(lookahead)) || next.After(noon().Add(lookahead+48*time.Hour)) {
		t.Errorf("next is %s", next)
	}
	if got := ids(s.Why(Subject{Ways: []Way{{Mute: s.Intervals()}}}, noon())); got != "always" {
		t.Errorf("mute in %q", got)
	}
	if got := ids(s.Why(Subject{Ways: []Way{{Mute: s.Intervals()}}}, utc("2030-06-01 00:00"))); got != "always once" {
		t.Errorf("mute in %q", got)
	}
}

func TestQuestionsAboutThePastAreAnsweredLikeThoseAboutNow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, from, to := drawSet(t)
		of := Subject{Labels: labelsOf("a", "b"), Ways: []Way{{Mute: []string{"n"}}}}
		span := int(to.Sub(from) / time.Minute)
		for range 50 {
			now := from.Add(time.Duration(rapid.IntRange(0, span).Draw(t, "minute")) * time.Minute)
			fresh, ps := New(Config{})
			if len(ps) > 0 {
				t.Fatal(ps)
			}
			fresh.intervals = map[string]*interval{"n": {name: "n", parts: s.intervals["n"].parts}}
			for one := range s.All() {
				if err := fresh.Put(one); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(codes(fresh.Why(of, now)), codes(s.Why(of, now))); diff != "" {
				t.Fatalf("at %s: %s", now, diff)
			}
		}
	})
}

func codes(all []event.Reason) []string {
	var out []string
	for _, r := range all {
		out = append(out, r.Code+" "+r.Causes[0])
	}
	return out
}

package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
)

// wedged fails in one partition for ever.
type wedged struct{ stuck bool }

func (w wedged) Handle(context.Context, []bus.Message[event.Reading]) error {
	if w.stuck {
		return errors.New("not now")
	}
	return nil
}

func (wedged) Tick(context.Context, time.Time) error { return nil }

func TestAStuckPartitionIsSeenAndGoesWithItsOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _, _, reg := observed(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			done <- bus.Own(ctx, b, "g", bus.Options{}, func(_ context.Context, o *bus.Ownership) (bus.Handler[event.Reading], error) {
				return wedged{o.Partition == 3}, nil
			})
		}()
		for i := range 200 { // Every partition has something to do.
			r := event.ReadingFor(job(i))
			r.Status = event.StatusOK
			if err := b.Publish(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(90*time.Second + time.Millisecond)
		synctest.Wait()
		got := metric(t, reg, "kemi_bus_delay_seconds")
		for p := range 8 {
			delay, ok := got["g,"+strconv.Itoa(p)+",readings.v1"]
			if low, high := 0.0, 1.0; p == 3 {
				if low, high = 88, 91; !ok || delay < low || delay > high {
					t.Errorf("the stuck partition: %v, %v", delay, ok)
				}
			} else if !ok || delay < low || delay > high {
				t.Errorf("partition %d: %v, %v", p, delay, ok)
			}
		}
		if len(got) != 8 {
			t.Errorf("delays of %v", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if got := metric(t, reg, "kemi_bus_delay_seconds"); len(got) != 0 {
			t.Errorf("after the hand-over: %v", got)
		}
	})
}

func TestWhatCannotBeReadIsCountedByWhoFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, d, _, reg := observed(t)
		for i := range 3 {
			if err := d.Publish(t.Context(), []driver.Record{{Topic: "commands.v1", Key: "k", Value: fmt.Append(nil, "hello ", i)}}, nil); err != nil {
				t.Fatal(err)
			}
		}
		publish(t, b, 0, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		seen := 0
		if err := bus.Follow(ctx, b, bus.From{}, func(bus.Message[event.Command]) error { seen++; return nil }, nil); err != nil {
			t.Fatal(err)
		}
		if got := metric(t, reg, "kemi_bus_unreadable_total")["commands.v1"]; got != 3 || seen != 1 {
			t.Errorf("%v unreadable, %d seen", got, seen)
		}
	})
}

// Who follows one key among many is handed what has it, of what was there and of what comes, each once and in order.
func TestFollowingAKeyLeavesOutTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _, _, _ := observed(t)
		say := func(comment string) {
			c := &event.Command{Kind: event.Remark, Subject: comment, By: "jo", At: time.Now(), Comment: comment}
			if err := b.Publish(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		for _, comment := range []string{"apples", "pears", "apples and pears"} {
			say(comment)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var got []string
		if err := bus.FollowKey(ctx, b, bus.From{}, "pears", func(m bus.Message[event.Command]) error {
			if len(got) == 0 {
				say("apples meanwhile")
				say("pears meanwhile")
			}
			got = append(got, m.Event.Comment)
			return nil
		}, func() {
			got = append(got, "caught up")
			say("apples later")
			say("pears later")
		}); err != nil {
			t.Fatal(err)
		}
		// What came meanwhile may be before it or after it.
		at := slices.Index(got, "caught up")
		if want := []string{"pears", "apples and pears", "pears meanwhile", "pears later"}; at < 2 || at > 3 || !slices.Equal(slices.Delete(got, at, at+1), want) {
			t.Errorf("got %q, caught up after %d, want %q", got, at, want)
		}
	})
}

// What is said of who answers has one key, so that it can be asked for alone; else a finding has the key of its series.
func TestWhoAnswersIsAskedForByKey(t *testing.T) {
	b, d, _, _ := observed(t)
	reach := &event.Finding{Rule: event.RuleReachable, Verdict: event.VerdictFiring, Target: "srv-1", Domain: "d", At: time.Now(), Since: time.Now()}
	other := &event.Finding{Rule: "g/Down", Verdict: event.VerdictFiring, Target: "srv-1", Domain: "d", At: time.Now(), Since: time.Now()}
	if err := b.Publish(t.Context(), reach, other); err != nil {
		t.Fatal(err)
	}
	f, err := d.Subscribe(t.Context(), driver.Subscription{Topic: reach.Topic().Name})
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for len(keys) < 2 {
		all, err := f.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range all {
			if x.Event == driver.Data {
				keys = append(keys, x.Record.Key)
			}
		}
	}
	if want := []string{event.RuleReachable, other.Key()}; !slices.Equal(keys, want) || reach.Key() == event.RuleReachable {
		t.Errorf("the records have the keys %q, want %q", keys, want)
	}
}

package view_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/cmd/kemi/view"
	"kemi.dev/kemi/internal/obs"
)

// opened is a bus that closes with the test.
func opened(t *testing.T, d driver.Driver) *bus.Bus {
	t.Helper()
	b := bus.New(d, bus.Settings{}, obs.Scope{})
	if err := b.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// running is a model that has read what there is, and reads on until the test ends.
func running(t *testing.T, b *bus.Bus) *view.Model {
	t.Helper()
	m, done := view.New(b), make(chan error, 1)
	go func() { done <- m.Run(t.Context()) }()
	t.Cleanup(func() {
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	<-m.Ready()
	return m
}

// What a record without a value takes out of a topic is shown no more, whoever said it.
func TestWhatIsRemovedIsShownNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := opened(t, mem.New())
		things := []event.Event{
			&event.Target{ID: "core-1", Class: "switch"}, &event.Alert{ID: "a1", Domain: "default", State: event.AlertFiring},
			&event.Incident{ID: "i1", Domain: "default", State: event.IncidentOpen}, &event.Page{ID: "p1", Domain: "default", Stage: event.PageRetrying},
		}
		if err := b.Publish(t.Context(), things...); err != nil {
			t.Fatal(err)
		}
		m := running(t, b)
		shown := func() (n [4]int) {
			synctest.Wait()
			m.Read(func(s *view.State) {
				f := view.Filter{}
				n = [4]int{len(s.Targets(f)), len(s.Alerts(f)), len(s.Incidents(f)), len(s.Pages(f))}
			})
			return n
		}
		if got := shown(); got != [4]int{1, 1, 1, 1} {
			t.Fatalf("at first: %v", got)
		}
		if err := b.Remove(t.Context(), things...); err != nil {
			t.Fatal(err)
		}
		if got := shown(); got != [4]int{} {
			t.Errorf("removed, and still there: %v (targets, alerts, incidents, pages)", got)
		}
	})
}

// forgetful is a broker that loses what it holds, and whose topics are made again.
type forgetful struct {
	driver.Driver
	lost chan struct{} // Closed when that happened.
}

func (d *forgetful) Subscribe(ctx context.Context, s driver.Subscription) (driver.Feed, error) {
	f, err := d.Driver.Subscribe(ctx, s)
	return &forgetfulFeed{Feed: f, lost: d.lost}, err
}

type forgetfulFeed struct {
	driver.Feed
	lost chan struct{}
}

// Next implements driver.Feed.
func (f *forgetfulFeed) Next(ctx context.Context) ([]driver.Delivery, error) {
	before, cancel := context.WithCancel(ctx)
	defer cancel()
	lost := f.lost
	if lost != nil {
		go func() {
			select {
			case <-lost:
				cancel()
			case <-before.Done():
			}
		}()
	}
	got, err := f.Feed.Next(before)
	if err != nil && ctx.Err() == nil && lost != nil {
		f.lost = nil
		return []driver.Delivery{{Event: driver.Revoked, Partition: -1}}, nil
	}
	return got, err
}

// What went with the broker's disk is shown no more: who was there all the time shows what one that starts now does.
func TestWhatTheBrokerLostIsShownNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &forgetful{Driver: mem.New(), lost: make(chan struct{})}
		b := opened(t, d)
		if err := b.Publish(t.Context(), &event.Target{ID: "core-1", Class: "switch"}, &event.Alert{ID: "a1", Domain: "default", State: event.AlertFiring},
			&event.Incident{ID: "i1", Domain: "default", State: event.IncidentOpen}, &event.Page{ID: "p1", Domain: "default", Stage: event.PageRetrying}); err != nil {
			t.Fatal(err)
		}
		m := running(t, b)
		close(d.lost)
		synctest.Wait()
		if err := b.Publish(t.Context(), &event.Incident{ID: "i2", Domain: "default", State: event.IncidentOpen}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		m.Read(func(s *view.State) {
			f := view.Filter{}
			left := []int{len(s.Targets(f)), len(s.Alerts(f)), len(s.Incidents(f)), len(s.Pages(f))}
			if !slices.Equal(left, []int{0, 0, 1, 0}) {
				t.Errorf("lost, and still there: %v (targets, alerts, incidents, pages)", left)
			}
		})
	})
}

// How old the truth about a target is, is seen: when nobody polls it, what is said of it is of the past.
func TestATargetThatNobodyPollsIsSaidToBeSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := opened(t, mem.New())
		for _, id := range []string{"polled", "quiet"} {
			one := &event.Target{ID: id, Class: "switch", Checks: []event.Check{{Name: "slow", Every: time.Hour}, {Name: "fast", Every: 10 * time.Second}}}
			if err := b.Publish(t.Context(), one); err != nil {
				t.Fatal(err)
			}
		}
		m := running(t, b)
		unpolled := func(id string) (gone time.Duration) {
			synctest.Wait()
			m.Read(func(s *view.State) {
				one, ok := s.Target(id)
				if !ok {
					t.Fatalf("%s is not there", id)
				}
				gone = one.Unpolled(time.Now())
			})
			return gone
		}
		for range 6 {
			if err := b.Publish(t.Context(), event.ReadingFor(&event.Job{Target: "polled", Check: "fast", Slot: time.Now()})); err != nil {
				t.Fatal(err)
			}
			if got := unpolled("polled"); got != 0 {
				t.Errorf("polled just now, and not for %s", got)
			}
			time.Sleep(10 * time.Second)
		}
		if polled, quiet := unpolled("polled"), unpolled("quiet"); polled != 0 || quiet != time.Minute {
			t.Errorf("not polled for %s and %s, want 0 and a minute", polled, quiet)
		}
		time.Sleep(13 * time.Minute)
		if got := unpolled("polled"); got != 13*time.Minute+10*time.Second {
			t.Errorf("not polled for %s, want 13 m 10 s", got)
		}
	})
}

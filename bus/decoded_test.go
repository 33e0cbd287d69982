package bus_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
)

func said(i int, summary string) *event.Alert {
	at := time.Unix(1_800_000_000, 0).UTC()
	return &event.Alert{
		ID: fmt.Sprint("a", i), Name: "DiskFull", Rule: "fleet/DiskFull", State: event.AlertFiring, Target: "srv-1", Domain: "default", StartsAt: at, Updated: at,
		Labels: event.LabelsOf(map[string]string{"alertname": "DiskFull"}), Annotations: map[string]string{"summary": summary}, Reason: event.Reason{Code: "rule"},
	}
}

func stored[T any, W event.Word[T]](t *testing.T, b *bus.Bus) map[string]*T {
	t.Helper()
	all := map[string]*T{}
	if err := bus.Snapshot[T, W](t.Context(), b, func(m bus.Message[T]) error {
		all[m.Key] = m.Event
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestReadersOfASharedTopicHaveTheSameEvents(t *testing.T) {
	b, _ := open(t)
	for i := range 10 {
		if err := b.Publish(t.Context(), said(i, "first"), &event.Target{ID: fmt.Sprint("t", i), Class: "server"}); err != nil {
			t.Fatal(err)
		}
	}
	one, other := stored[event.Alert](t, b), stored[event.Alert](t, b)
	for id, a := range one {
		if a != other[id] {
			t.Errorf("%s was decoded twice", id)
		}
	}
	if diff := cmp.Diff(said(3, "first"), one["a3"]); diff != "" {
		t.Error(diff)
	}
	targets := stored[event.Target](t, b)
	for id, a := range stored[event.Target](t, b) {
		if a == targets[id] {
			t.Errorf("%s may be changed, and others have it", id)
		}
	}
	// What was said later has the same identity and is another.
	if err := b.Publish(t.Context(), said(3, "second")); err != nil {
		t.Fatal(err)
	}
	if got := stored[event.Alert](t, b)["a3"].Annotations["summary"]; got != "second" || one["a3"].Annotations["summary"] != "first" {
		t.Errorf("%q, and before %q", got, one["a3"].Annotations["summary"])
	}
	runtime.KeepAlive(one)
}

func TestWhatWasPublishedHereIsNotDecoded(t *testing.T) {
	b, _ := open(t)
	a, again := said(1, "first"), said(1, "second")
	if err := b.Publish(t.Context(), a, again); err != nil {
		t.Fatal(err)
	}
	if got := stored[event.Alert](t, b)["a1"]; got != again {
		t.Errorf("%p is read, not what was published, %p", got, again)
	}
	runtime.KeepAlive(a)
	runtime.KeepAlive(again)
}

func TestWhatNobodyKeepsIsForgotten(t *testing.T) {
	b, _ := open(t)
	const n = 2000
	var kept map[string]*event.Alert
	for round := range 15 {
		var all []event.Event
		for i := range n {
			a := said(i, "again")
			a.Updated = a.Updated.Add(time.Duration(round) * time.Second)
			all = append(all, a)
		}
		if err := b.Publish(t.Context(), all...); err != nil {
			t.Fatal(err)
		}
		kept = stored[event.Alert](t, b)
		runtime.GC()
	}
	for id, a := range stored[event.Alert](t, b) {
		if a != kept[id] {
			t.Fatalf("%s was decoded twice though it is kept", id)
		}
	}
	if known := bus.Known(b); known < n || known > 5*n {
		t.Errorf("%d are known of %d", known, n)
	}
	runtime.KeepAlive(kept)
}

package history_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/history"
	"kemi.dev/kemi/bus/mem"
)

// What a process was about to do when it was killed is in its log; how it ended is not known.
func TestACallWhoseEndIsNotInTheLogIsUnknown(t *testing.T) {
	var log bytes.Buffer
	r := history.NewRecorder(&log, "one")
	stuck := &mutant{Driver: mem.New(), publish: func(context.Context, driver.Driver, []driver.Record, *driver.Fence) error {
		// Nothing more of this process is written: it is killed now, in the middle of a line.
		killed := append(bytes.Clone(log.Bytes()), []byte(`{"op":"en`)...)
		var got []history.Event
		if err := history.Read(bytes.NewReader(killed), func(e *history.Event) { got = append(got, *e) }); err != nil {
			t.Fatal(err)
		}
		last := got[len(got)-1]
		if last.Op != history.OpPublish || last.Outcome != history.Unknown || len(last.Records) != 1 || last.Records[0].ID != "id" || last.Ended < last.At {
			t.Errorf("got %+v", last)
		}
		return nil
	}}
	d := r.Wrap(stuck)
	if err := d.Ensure(t.Context(), []driver.Topic{{Name: "log", Partitions: 1}}); err != nil {
		t.Fatal(err)
	}
	if err := d.Publish(t.Context(), []driver.Record{{Topic: "log", Key: "k", ID: "id"}}, nil); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	var last history.Event
	if err := history.Read(&log, func(e *history.Event) { last = *e }); err != nil || last.Outcome != history.OK {
		t.Errorf("got %+v, %v", last, err)
	}
}

// In a bubble time stands still, and on a busy machine it does for some calls: lines are in order all the same.
func TestStampsGrowAlthoughTheClockStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		r := history.NewRecorder(&log, "one")
		for range 100 {
			r.Fault("none")()
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		var last int64
		n := 0
		err := history.Read(&log, func(e *history.Event) {
			if n++; e.At <= last || e.Ended <= e.At {
				t.Fatalf("%d to %d after %d", e.At, e.Ended, last)
			}
			last = e.Ended
		})
		if err != nil || n != 100 {
			t.Fatalf("%d, %v", n, err)
		}
	})
}

func TestErrorsAreJudgedByWhatTheyMeanForEachRecord(t *testing.T) {
	one, two := make([]driver.Record, 1), make([]driver.Record, 2)
	for i, c := range []struct {
		err     error
		records []driver.Record
		want    history.Outcome
	}{
		{nil, two, history.OK},
		{driver.ErrFenced, two, history.Fenced},
		{driver.ErrTooLarge, two, history.Failed},
		{driver.ErrNoTopic, one, history.Failed},
		{driver.ErrFull, one, history.Failed},
		{driver.ErrFull, two, history.Unknown},
		{driver.ErrClosed, one, history.Unknown},
		{context.DeadlineExceeded, one, history.Unknown},
		{io.ErrUnexpectedEOF, one, history.Unknown},
	} {
		var log bytes.Buffer
		r := history.NewRecorder(&log, "one")
		d := r.Wrap(&mutant{publish: func(context.Context, driver.Driver, []driver.Record, *driver.Fence) error { return c.err }})
		if err := d.Publish(t.Context(), c.records, nil); !errors.Is(err, c.err) {
			t.Fatalf("case %d: the error became %v", i, err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		var got history.Event
		if err := history.Read(&log, func(e *history.Event) { got = *e }); err != nil || got.Outcome != c.want {
			t.Errorf("case %d: got %s, %v; want %s", i, got.Outcome, err, c.want)
		}
	}
}

func TestLogsOfSeveralProcessesAreFiles(t *testing.T) {
	broker := mem.New()
	defer broker.Close()
	dir := t.TempDir()
	w := history.Workload{Settle: 500 * time.Millisecond, Partitions: 2}
	var paths []string
	for _, process := range []string{"publisher", "reader"} {
		path := filepath.Join(dir, process+".log")
		r, err := history.Create(path, process)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
		d := r.Wrap(broker.Open())
		if _, ok := d.(driver.Inspector); !ok {
			t.Error("an Inspector is none any more")
		}
		if err := d.Ensure(t.Context(), w.Topics()); err != nil {
			t.Fatal(err)
		}
		if process == "publisher" {
			w.Publish(t.Context(), d, process, 50)
		} else if err := errors.Join(w.Drain(t.Context(), d), w.Look(t.Context(), d)); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(d.Close(), r.Close(), r.Err()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := history.Create(paths[0], "publisher"); err == nil {
		t.Error("a log was begun anew")
	}
	whole, err := history.CheckFiles(history.Rules{}, paths...)
	if err != nil || !whole.OK() || whole.Counts.Acknowledged < 50 || whole.Counts.Delivered < 50 {
		t.Fatalf("%s, %v", whole, err)
	}
	// Without the publisher's log, what was delivered is of somebody else.
	half, err := history.CheckFiles(history.Rules{}, paths[1])
	if err != nil || half.Counts.Foreign < 50 {
		t.Fatalf("%s, %v", half, err)
	}
	if _, err := history.CheckFiles(history.Rules{}, filepath.Join(dir, "nowhere")); err == nil {
		t.Error("a log that is not there was read")
	}
	if text := whole.String(); !strings.Contains(text, "lost 0") || strings.Contains(text, "BROKEN") {
		t.Error(text)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"op":"publish","process":"a","call":1,"at":1,"records":[{"topic":"t","key":"k","id":"1"}]}` + "\n" + `{"op":"end","call":1,"at":2,"outcome":"ok"}` + "\n"))
	f.Add([]byte(`{"op":"subscribe","process":"a","call":1,"feed":1,"topic":"t","group":"g","at":1}` + "\n" + `{"op":"end","call":1,"at":2,"outcome":"ok"}` + "\n" +
		`{"op":"assigned","process":"a","feed":1,"epoch":1,"at":3}` + "\n" + `{"op":"data","process":"a","feed":1,"epoch":1,"position":4,"item":{"id":"1"},"at":4}` + "\n" +
		`{"op":"ack","process":"a","call":2,"feed":1,"epoch":1,"position":4,"at":5}` + "\n"))
	f.Add([]byte("{}\n[]\n"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		v, err := history.Check(history.Rules{AckDelay: 1, CommitDelay: 1, UnknownDelay: 1, Skew: 1}, bytes.NewReader(data), bytes.NewReader(data))
		if err == nil {
			_ = v.String()
		}
	})
}

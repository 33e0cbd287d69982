package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
)

// read collects who said the commands of a span.
func read(t *testing.T, b *bus.Bus, s bus.Span) string {
	t.Helper()
	var by []string
	err := b.Read(t.Context(), s, func(batch []bus.Raw) error {
		for _, r := range batch {
			e, err := event.Parse(r.Topic, r.Value)
			if err != nil {
				return err
			}
			by = append(by, e.(*event.Command).By)
		}
		return nil
	})
	if err != nil {
		t.Errorf("%+v: %v", s, err)
	}
	return strings.Join(by, "")
}

func TestASpanIsWhatWasStoredFromATimeUpToAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := open(t)
		begin := time.Now()
		for i := range 8 { // One a minute.
			if err := b.Publish(t.Context(), command(i, fmt.Sprint("core-", i%2))); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		at := func(minute int) time.Time { return begin.Add(time.Duration(minute) * time.Minute) }
		zero := 0
		for name, c := range map[string]struct {
			s    bus.Span
			want string
		}{
			"everything":               {bus.Span{To: time.Now()}, "01234567"},
			"to the future is to now":  {bus.Span{To: at(1000)}, "01234567"},
			"the end is left out":      {bus.Span{From: bus.From{Time: at(2)}, To: at(5)}, "234"},
			"one key":                  {bus.Span{From: bus.From{Time: at(2)}, To: at(7), Key: "core-1"}, "35"},
			"from a position":          {bus.Span{From: bus.From{Position: 6}, Partition: &zero, To: at(7)}, "56"},
			"after everything":         {bus.Span{From: bus.From{Time: at(100)}, To: at(101)}, ""},
			"before everything":        {bus.Span{To: begin.Add(-time.Hour)}, ""},
			"a key that is never said": {bus.Span{To: time.Now(), Key: "x"}, ""},
		} {
			c.s.Topic = "commands.v1"
			if got := read(t, b, c.s); got != c.want {
				t.Errorf("%s: %q, want %q", name, got, c.want)
			}
		}
		stop := errors.New("enough")
		if err := b.Read(t.Context(), bus.Span{Topic: "commands.v1", To: time.Now()}, func([]bus.Raw) error { return stop }); !errors.Is(err, stop) {
			t.Errorf("the reader's error is %v", err)
		}
	})
}

func TestASpanThatMakesNoSenseIsSaidSo(t *testing.T) {
	b, _ := open(t)
	none := func([]bus.Raw) error { return nil }
	nine := 9
	for name, c := range map[string]struct {
		s    bus.Span
		want string
	}{
		"a position without a partition": {bus.Span{Topic: "readings.v1", From: bus.From{Position: 7}}, "a position needs one partition"},
		"a partition that is not there":  {bus.Span{Topic: "readings.v1", Partition: &nine}, "partition 9 of 8"},
		"a snapshot of a log":            {bus.Span{Topic: "readings.v1", From: bus.From{Snapshot: true}}, "only a Latest topic has a snapshot"},
		"a slip of the pen":              {bus.Span{Topic: "reading.v1"}, "did you mean readings.v1?"},
		"no topic at all":                {bus.Span{Topic: "weather"}, "there are again.v1, alerts.v1, commands.v1, dead.v1"},
	} {
		c.s.To = time.Now()
		if err := b.Read(t.Context(), c.s, none); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v lacks %q", name, err, c.want)
		}
	}
	if _, err := b.Topic("reading.v1"); !errors.Is(err, driver.ErrNoTopic) {
		t.Error(err)
	}
}

func TestASpanOfSeveralPartitionsIsWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := open(t)
		say := func(from, to int) {
			for i := from; i < to; i++ {
				if err := b.Publish(t.Context(), event.ReadingFor(job(i))); err != nil {
					t.Fatal(err)
				}
			}
		}
		say(0, 40)
		time.Sleep(time.Minute)
		to := time.Now()
		say(40, 80)
		got := map[string]bool{}
		err := b.Read(t.Context(), bus.Span{Topic: "readings.v1", To: to}, func(batch []bus.Raw) error {
			for _, r := range batch {
				got[r.Key] = true
			}
			return nil
		})
		if err != nil || len(got) != 40 || got["t40"] {
			t.Errorf("%d targets, %v", len(got), err)
		}
	})
}

func TestWhatIsSaidAgainIsTheSameAndReachesEveryGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, d := open(t)
		publish(t, b, 0, 3)
		time.Sleep(time.Minute)
		if err := d.Publish(t.Context(), []driver.Record{{Topic: "commands.v1", Key: "k", Value: []byte("noise")}}, nil); err != nil {
			t.Fatal(err)
		}
		publish(t, b, 3, 6)
		var n notebook
		stop := own(t, b, "g", bus.Options{}, &n)
		time.Sleep(time.Minute)
		before := tail(t, b, "commands.v1")
		calls := 0
		a, err := b.SayAgain(t.Context(), bus.Span{Topic: "commands.v1", From: bus.From{Time: time.Now().Add(-90 * time.Second)}}, "commands.v1", func(bus.Again) { calls++ })
		if err != nil || a.Records != 3 || a.Unreadable != 1 || a.Bytes == 0 || a.At.IsZero() || calls == 0 {
			t.Fatalf("%+v after %d calls, %v", a, calls, err)
		}
		time.Sleep(5 * time.Second)
		stop()
		if got := strings.Join(n.list(), ""); got != "012345345" {
			t.Errorf("the group handled %s", got)
		}
		after := tail(t, b, "commands.v1")
		for i, r := range after[7:] {
			was := before[4+i]
			was.Position, was.Stored = r.Position, r.Stored
			if diff := cmp.Diff(was, r); diff != "" {
				t.Error(diff)
			}
		}
		if len(tail(t, b, bus.TopicDead)) != 1 {
			t.Error("what cannot be read was buried twice")
		}
	})
}

func TestOnlyWhatDoesNoHarmMayBeSaidAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := open(t)
		for _, c := range []struct{ from, into, want string }{
			{"readings.v1", "readings.v1", ""},
			{"findings.v1", "findings.v1", ""},
			{"jobs.v1.default", "jobs.v1.default", ""},
			{"readings.v1", "findings.v1", "records go to a topic of the same word only"},
			{"alerts.v1", "alerts.v1", "what is over would be there again"},
			{"targets.v1", "targets.v1", "an old one would be the newest"},
			{"incidents.v1", "incidents.v1", "an old one would be the newest"},
			{"pages.v1", "pages.v1", "an old one would be the newest"},
			{"dead.v1", "commands.v1", "kemi dead retry"},
			{"commands.v1", "dead.v1", "kemi dead retry"},
			{"state.v1", "state.v1", "never said again"},
			{"reading.v1", "readings.v1", "did you mean readings.v1"},
			{"readings.v1", "reading.v1", "did you mean readings.v1"},
		} {
			err := b.MaySayAgain(c.from, c.into)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%s into %s: %v", c.from, c.into, err)
			}
			if _, err := b.SayAgain(t.Context(), bus.Span{Topic: c.from}, c.into, nil); (err == nil) != (c.want == "") {
				t.Errorf("%s into %s is done: %v", c.from, c.into, err)
			}
		}
	})
}

func TestJobsPastTheirDeadlineAreNotSaidAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := open(t)
		for i := range 4 {
			j := job(i)
			j.Deadline = time.Now().Add(time.Duration(i) * time.Minute)
			if err := b.Publish(t.Context(), j); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(90 * time.Second)
		a, err := b.SayAgain(t.Context(), bus.Span{Topic: "jobs.v1.default"}, "jobs.v1.default", nil)
		if err != nil || a.Late != 2 || a.Records != 2 {
			t.Errorf("%+v, %v", a, err)
		}
	})
}

func TestSayingAgainWaitsWhileTheTopicIsFullAndCanBeBrokenOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, d, _, _ := observed(t)
		publish(t, b, 0, 1)
		for {
			if err := d.Publish(t.Context(), []driver.Record{{Topic: "commands.v1", Value: make([]byte, 200)}}, nil); errors.Is(err, driver.ErrFull) {
				break
			}
		}
		time.Sleep(time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := b.SayAgain(ctx, bus.Span{Topic: "commands.v1"}, "commands.v1", nil)
			done <- err
		}()
		time.Sleep(time.Hour)
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("it did not wait: %v", err)
		default:
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("broken off: %v", err)
		}
	})
}

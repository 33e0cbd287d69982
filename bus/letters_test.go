package bus_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/internal/journal"
	"kemi.dev/kemi/internal/obs"
)

// refusing has a group give up the commands of some, one after the other, and returns the notebook of the group.
func refusing(t *testing.T, b *bus.Bus, who ...string) *notebook {
	t.Helper()
	n := &notebook{fail: func(by string) error {
		if slices.Contains(who, by) {
			return bus.Permanent(fmt.Errorf("no %s here", by))
		}
		return nil
	}}
	stop := own(t, b, "g", bus.Options{Batch: 1}, n)
	time.Sleep(5 * time.Second)
	stop()
	return n
}

func list(t *testing.T, b *bus.Bus, f bus.LetterFilter) (ids []int64) {
	t.Helper()
	all, total, err := b.Letters(t.Context(), f, 0)
	if err != nil || total != len(all) {
		t.Fatal(total, err)
	}
	for _, l := range all {
		ids = append(ids, l.ID)
	}
	return ids
}

func TestDeadLettersAreListedNewestFirstAndChosen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, d := open(t)
		publish(t, b, 0, 4)
		refusing(t, b, "1", "3")
		time.Sleep(time.Hour)
		if err := d.Publish(t.Context(), []driver.Record{{Topic: bus.TopicDead, Key: "k", Value: []byte("who?")}}, nil); err != nil {
			t.Fatal(err)
		}
		all := list(t, b, bus.LetterFilter{})
		if len(all) != 3 || !slices.IsSortedFunc(all, func(x, y int64) int { return int(y - x) }) {
			t.Fatalf("listed %v", all)
		}
		stranger, third, first := all[0], all[1], all[2]
		for name, c := range map[string]struct {
			f    bus.LetterFilter
			want []int64
		}{
			"topic":           {bus.LetterFilter{Topic: "commands.v1"}, []int64{third, first}},
			"another topic":   {bus.LetterFilter{Topic: "alerts.v1"}, nil},
			"group":           {bus.LetterFilter{Group: "g"}, []int64{third, first}},
			"another group":   {bus.LetterFilter{Group: "h"}, nil},
			"reason":          {bus.LetterFilter{Reason: "NO 3"}, []int64{third}},
			"since":           {bus.LetterFilter{Since: time.Now().Add(-time.Minute)}, []int64{stranger}},
			"since long":      {bus.LetterFilter{Since: time.Now().Add(-2 * time.Hour)}, all},
			"not done as yet": {bus.LetterFilter{Done: true}, all},
		} {
			if got := list(t, b, c.f); !slices.Equal(got, c.want) {
				t.Errorf("%s: %v, want %v", name, got, c.want)
			}
		}
		if newest, total, err := b.Letters(t.Context(), bus.LetterFilter{}, 2); err != nil || total != 3 || len(newest) != 2 || newest[0].ID != stranger {
			t.Errorf("the two newest: %v of %d, %v", newest, total, err)
		}

		l, err := b.Letter(t.Context(), first)
		if err != nil {
			t.Fatal(err)
		}
		want, _ := command(1, "core-1").Encode()
		if l.Topic != "commands.v1" || l.Group != "g" || l.Key != "core-1" || l.Reason != "no 1 here" || l.Attempts != 1 || l.Position < 1 || l.Bytes != len(want) || time.Since(l.At) < time.Hour {
			t.Errorf("%+v", l)
		}
		if e, err := b.Decode(l); err != nil || e.(*event.Command).By != "1" || string(l.Record.Value) != string(want) || l.Record.Header("kemi-dead-topic") != "" || l.Record.Header("kemi-word") == "" {
			t.Errorf("its record: %v %v %v", e, err, l.Record.Headers)
		}
		l, err = b.Letter(t.Context(), stranger)
		if err != nil || !l.Foreign || l.Position != stranger || l.Topic != bus.TopicDead || !strings.HasPrefix(l.Reason, "not a dead letter of Kemi: ") || string(l.Record.Value) != "who?" {
			t.Errorf("the stranger's: %+v, %v", l, err)
		}
		for _, id := range []int64{third + 1000, 0} {
			if l, err := b.Letter(t.Context(), id); l != nil || err != nil {
				t.Errorf("letter %d: %v %v", id, l, err)
			}
		}
	})
}

func TestALetterThatIsRetriedIsHandledByEverybodyOfTheTopicAndIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log journal.Journal
		b := bus.New(mem.New(), bus.Settings{}, obs.New(slog.New(slog.NewTextHandler(&log, nil)), nil))
		if err := b.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		publish(t, b, 0, 4)
		refusing(t, b, "1", "2")
		var other notebook
		stop := own(t, b, "other", bus.Options{}, &other)
		time.Sleep(5 * time.Second)
		before := tail(t, b, "commands.v1")
		ids := list(t, b, bus.LetterFilter{})
		slices.Reverse(ids)

		settled, err := b.Retry(t.Context(), []int64{ids[1], ids[0], 4711, ids[0]}, "jo", "mended")
		if err != nil {
			t.Fatal(err)
		}
		want := []bus.Settled{{ID: ids[0], Topic: "commands.v1", Key: "core-1"}, {ID: ids[1], Topic: "commands.v1", Key: "core-1"}, {ID: 4711, Why: "there is no such letter (any more)"}}
		if diff := cmp.Diff(want, settled); diff != "" {
			t.Error(diff)
		}
		var n notebook
		stopToo := own(t, b, "g", bus.Options{}, &n)
		time.Sleep(5 * time.Second)
		stopToo()
		stop()
		if got := strings.Join(n.list(), ""); got != "12" {
			t.Errorf("the group handled %s", got)
		}
		if got := strings.Join(other.list(), ""); got != "012312" {
			t.Errorf("the other group handled %s", got)
		}
		// Bytes, headers, key and partition are the record's own; one header more says whose copy it is.
		after := tail(t, b, "commands.v1")
		for i, r := range after[4:] {
			was := before[1+i]
			if of := r.Headers["kemi-again"]; of != fmt.Sprintf("commands.v1/0/%d", was.Position) {
				t.Errorf("put back as a copy of %q", of)
			}
			delete(r.Headers, "kemi-again")
			was.Position, was.Stored = r.Position, r.Stored
			if diff := cmp.Diff(was, r); diff != "" {
				t.Errorf("put back: %s", diff)
			}
		}
		if left := list(t, b, bus.LetterFilter{}); len(left) != 0 {
			t.Errorf("%v are left", left)
		}
		all, _, err := b.Letters(t.Context(), bus.LetterFilter{Done: true}, 0)
		if err != nil || len(all) != 2 || all[0].Done == nil || all[0].Done.How != bus.Retried || all[0].Done.By != "jo" || all[0].Done.Comment != "mended" || time.Since(all[0].Done.At) > time.Minute {
			t.Errorf("done: %+v, %v", all, err)
		}
		if log.Count("dead letters are done") != 1 || log.Count("by=jo") != 1 {
			t.Error("the log does not say who did it")
		}
		settled, err = b.Retry(t.Context(), ids, "al", "")
		if err != nil || len(settled) != 2 || !strings.Contains(settled[0].Why, "it was retried before") {
			t.Errorf("again: %v %v", settled, err)
		}
		if len(tail(t, b, "commands.v1")) != len(after) {
			t.Error("what is done was put back again")
		}
	})
}

func TestALetterThatIsDroppedIsDoneAndNothingElseHappens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := open(t)
		publish(t, b, 0, 3)
		refusing(t, b, "0", "1", "2")
		ids := list(t, b, bus.LetterFilter{})
		settled, err := b.Drop(t.Context(), ids[:2], "jo", "")
		if err != nil || len(settled) != 2 || settled[0].Why+settled[1].Why != "" {
			t.Fatal(settled, err)
		}
		if left := list(t, b, bus.LetterFilter{}); !slices.Equal(left, ids[2:]) {
			t.Errorf("left %v of %v", left, ids)
		}
		if n := len(tail(t, b, "commands.v1")); n != 3 {
			t.Errorf("%d commands", n)
		}
		if l, err := b.Letter(t.Context(), ids[0]); err != nil || l.Done == nil || l.Done.How != bus.Dropped {
			t.Errorf("%+v %v", l, err)
		}
		if settled, err := b.Drop(t.Context(), nil, "", ""); err != nil || len(settled) != 0 {
			t.Errorf("dropping none: %v %v", settled, err)
		}
	})
}

func TestLettersThatCannotBePutBackSayWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, d := tight(t)
		large := command(3, "core-1")
		large.Comment = strings.Repeat("x", 2*maxRecord)
		if err := b.Publish(t.Context(), large, mute{command(4, "core-1")}); err != nil {
			t.Fatal(err)
		}
		for _, headers := range [][]driver.Header{
			nil,
			{{Name: "kemi-dead-topic", Value: "weather.v1"}},
			{{Name: "kemi-dead-topic", Value: "state.v1"}, {Name: "kemi-dead-group", Value: "g"}},
			{{Name: "kemi-dead-topic", Value: "commands.v1"}, {Name: "kemi-dead-group", Value: "g"}, {Name: "kemi-dead-partition", Value: "7"}},
		} {
			if err := d.Publish(t.Context(), []driver.Record{{Topic: bus.TopicDead, Value: []byte("x"), Headers: headers}}, nil); err != nil {
				t.Fatal(err)
			}
		}
		ids := list(t, b, bus.LetterFilter{})
		settled, err := b.Retry(t.Context(), ids, "jo", "")
		if err != nil || len(settled) != 6 {
			t.Fatal(settled, err)
		}
		for i, want := range []string{"never stored", "cut short", "not a dead letter of Kemi", "does not carry", "does not carry", "has 1 partitions, it was in number 7"} {
			if !strings.Contains(settled[i].Why, want) {
				t.Errorf("letter %d: %q lacks %q", i, settled[i].Why, want)
			}
		}
		if left := list(t, b, bus.LetterFilter{}); len(left) != 6 || len(commands(t, b)) != 0 {
			t.Errorf("%d letters are left, %d commands", len(left), len(commands(t, b)))
		}
	})
}

// noRemovals is a handler of targets that takes anything but removals.
type noRemovals struct{}

func (noRemovals) Handle(_ context.Context, batch []bus.Message[event.Target]) error {
	for i := range batch {
		if batch[i].Removed() {
			return bus.Permanent(errors.New("never"))
		}
	}
	return nil
}

func (noRemovals) Tick(context.Context, time.Time) error { return nil }

func ownTargets(t *testing.T, b *bus.Bus) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- bus.Own(ctx, b, "g", bus.Options{}, func(context.Context, *bus.Ownership) (bus.Handler[event.Target], error) { return noRemovals{}, nil })
	}()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestAnOldRecordNeverReplacesANewerOneOfItsKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, d := open(t)
		// Three targets in a version that nobody can read yet.
		for _, id := range []string{"changed", "removed", "as it was"} {
			r := driver.Record{Topic: "targets.v1", Partition: bus.Partition(id, (&event.Target{}).Topic().Partitions), Key: id, Value: []byte("old"), Headers: []driver.Header{{Name: "kemi-word", Value: "dev.kemi.target.v2"}}}
			if err := d.Publish(t.Context(), []driver.Record{r}, nil); err != nil {
				t.Fatal(err)
			}
		}
		stop := ownTargets(t, b)
		time.Sleep(5 * time.Second)
		if err := b.Publish(t.Context(), &event.Target{ID: "changed", Class: "new"}); err != nil {
			t.Fatal(err)
		}
		if err := b.Remove(t.Context(), &event.Target{ID: "removed"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		stop()
		all, _, err := b.Letters(t.Context(), bus.LetterFilter{Reason: "newer version"}, 0)
		if err != nil || len(all) != 3 {
			t.Fatal(all, err)
		}
		var ids []int64
		for _, l := range all {
			ids = append(ids, l.ID)
		}
		settled, err := b.Retry(t.Context(), ids, "jo", "")
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range settled {
			if stays := strings.Contains(s.Why, "a newer record of this key"); stays != (s.Key != "as it was") {
				t.Errorf("%s: %q", s.Key, s.Why)
			}
		}
		newest := map[string]string{}
		for _, r := range tail(t, b, "targets.v1") {
			newest[r.Key] = string(r.Value)
		}
		if newest["as it was"] != "old" || newest["removed"] != "" || !strings.Contains(newest["changed"], `"class":"new"`) {
			t.Errorf("the newest are %q", newest)
		}
	})
}

func TestARemovalThatCouldNotBeHandledIsARemovalAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := open(t)
		if err := b.Publish(t.Context(), &event.Target{ID: "a"}); err != nil {
			t.Fatal(err)
		}
		if err := b.Remove(t.Context(), &event.Target{ID: "a"}); err != nil {
			t.Fatal(err)
		}
		stop := ownTargets(t, b)
		time.Sleep(5 * time.Second)
		stop()
		all, _, err := b.Letters(t.Context(), bus.LetterFilter{Reason: "never"}, 0)
		if err != nil || len(all) != 1 || !all[0].Removed {
			t.Fatalf("%+v, %v", all, err)
		}
		if settled, err := b.Retry(t.Context(), []int64{all[0].ID}, "", ""); err != nil || settled[0].Why != "" {
			t.Fatal(settled, err)
		}
		records := tail(t, b, "targets.v1")
		if last := records[len(records)-1]; !last.Removed || last.Key != "a" {
			t.Errorf("put back as %+v", last)
		}
	})
}

func TestManyLettersArePutBackInTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, d := open(t)
		const n = 1300 // More than are put back at once.
		value, _ := command(7, "core-1").Encode()
		var records []driver.Record
		for i := range n {
			records = append(records, driver.Record{Topic: bus.TopicDead, Key: fmt.Sprint(i), Value: value, Headers: []driver.Header{
				{Name: "kemi-dead-topic", Value: "commands.v1"}, {Name: "kemi-dead-group", Value: "g"}, {Name: "kemi-dead-partition", Value: "0"},
			}})
		}
		if err := d.Publish(t.Context(), records, nil); err != nil {
			t.Fatal(err)
		}
		settled, err := b.Retry(t.Context(), list(t, b, bus.LetterFilter{}), "", "")
		if err != nil || len(settled) != n {
			t.Fatal(len(settled), err)
		}
		got := tail(t, b, "commands.v1")
		if len(got) != n || len(list(t, b, bus.LetterFilter{})) != 0 {
			t.Fatalf("%d of %d are back", len(got), n)
		}
		for i := range got {
			if got[i].Key != fmt.Sprint(i) {
				t.Fatalf("number %d is %s", i, got[i].Key)
			}
		}
	})
}

func TestRetryingWhenTheTopicIsFullLosesNoLetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, d, _, _ := observed(t)
		publish(t, b, 0, 1)
		refusing(t, b, "0")
		for i := 0; ; i++ { // Fill the topic.
			err := d.Publish(t.Context(), []driver.Record{{Topic: "commands.v1", Value: make([]byte, 200)}}, nil)
			if errors.Is(err, driver.ErrFull) {
				break
			}
			if err != nil || i > 10_000 {
				t.Fatal(i, err)
			}
		}
		ids := list(t, b, bus.LetterFilter{})
		if _, err := b.Retry(t.Context(), ids, "", ""); !errors.Is(err, driver.ErrFull) {
			t.Errorf("got %v", err)
		}
		if left := list(t, b, bus.LetterFilter{}); !slices.Equal(left, ids) {
			t.Errorf("left %v of %v", left, ids)
		}
	})
}

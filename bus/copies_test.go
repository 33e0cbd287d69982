package bus_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/driver"
)

// threeRefuse has three groups give up every command, and returns how to stop them.
func threeRefuse(t *testing.T, b *bus.Bus) (stop func()) {
	t.Helper()
	var stops []func()
	for _, group := range []string{"a", "b", "c"} {
		stops = append(stops, own(t, b, group, bus.Options{Batch: 1}, &notebook{fail: func(by string) error {
			return bus.Permanent(fmt.Errorf("no %s here", by))
		}}))
	}
	return func() {
		for _, stop := range stops {
			stop()
		}
	}
}

// retriedRecords counts the records that were put back, and the letters that are done with them.
func retriedRecords(t *testing.T, settled []bus.Settled) (records, letters int) {
	t.Helper()
	for _, one := range settled {
		if one.Why != "" {
			t.Errorf("letter %d: %s", one.ID, one.Why)
		}
		if letters++; one.Of == nil {
			records++
		}
	}
	return records, letters
}

func TestARecordThatSeveralGroupsGaveUpIsPutBackOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := open(t)
		defer threeRefuse(t, b)()
		publish(t, b, 0, 5)
		// Each round the groups give the copies up once more: five records stay five.
		for round := range 3 {
			time.Sleep(5 * time.Second)
			ids := list(t, b, bus.LetterFilter{})
			if len(ids) != 15 {
				t.Fatalf("round %d: %d letters", round, len(ids))
			}
			settled, err := b.Retry(t.Context(), ids, "jo", "")
			if err != nil {
				t.Fatal(err)
			}
			if records, letters := retriedRecords(t, settled); records != 5 || letters != 15 {
				t.Errorf("round %d: %d records of %d letters", round, records, letters)
			}
			if n := len(tail(t, b, "commands.v1")); n != 5*(round+2) {
				t.Errorf("round %d: %d commands", round, n)
			}
		}
		for _, r := range tail(t, b, "commands.v1")[10:] { // Copies of copies.
			if of := r.Headers["kemi-again"]; !slices.Contains([]string{"commands.v1/0/1", "commands.v1/0/2", "commands.v1/0/3", "commands.v1/0/4", "commands.v1/0/5"}, of) {
				t.Errorf("a copy of %q", of)
			}
		}
	})
}

func TestALetterThatIsRetriedTakesTheOthersOfItsRecordAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := open(t)
		stop := threeRefuse(t, b)
		publish(t, b, 0, 2)
		time.Sleep(5 * time.Second)
		stop()
		all, _, err := b.Letters(t.Context(), bus.LetterFilter{Reason: "no 0 here"}, 0)
		if err != nil || len(all) != 3 {
			t.Fatal(all, err)
		}
		newest := all[0].ID // Others of its record are older.
		settled, err := b.Retry(t.Context(), []int64{newest}, "jo", "")
		if err != nil {
			t.Fatal(err)
		}
		if records, letters := retriedRecords(t, settled); records != 1 || letters != 3 {
			t.Errorf("%d records of %d letters", records, letters)
		}
		all, _, err = b.Letters(t.Context(), bus.LetterFilter{Done: true}, 0)
		if err != nil || len(all) != 6 {
			t.Fatal(all, err)
		}
		for _, l := range all {
			if done := l.Done != nil; done != (l.Reason == "no 0 here") {
				t.Errorf("letter %d (%s): done %v", l.ID, l.Reason, done)
			}
		}
		if n := len(tail(t, b, "commands.v1")); n != 3 {
			t.Errorf("%d commands", n)
		}
		if settled, err := b.Retry(t.Context(), []int64{all[0].ID, newest}, "", ""); err != nil || len(tail(t, b, "commands.v1")) > 4 {
			t.Errorf("again: %v, %v", settled, err)
		}
	})
}

func TestLettersOfCopiesThatWerePutBackTwiceAreOneRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, d := open(t)
		publish(t, b, 0, 1)
		refusing(t, b, "0")
		if _, err := b.Retry(t.Context(), list(t, b, bus.LetterFilter{}), "", ""); err != nil {
			t.Fatal(err)
		}
		// As if the retry had been broken off before it was written down, and made again.
		was := tail(t, b, "commands.v1")[1]
		copied := driver.Record{Topic: was.Topic, Partition: was.Partition, Key: was.Key, Value: was.Value}
		for name, value := range was.Headers {
			copied.Headers = append(copied.Headers, driver.Header{Name: name, Value: value})
		}
		if err := d.Publish(t.Context(), []driver.Record{copied, copied}, nil); err != nil {
			t.Fatal(err)
		}
		refusing(t, b, "0")
		settled, err := b.Retry(t.Context(), list(t, b, bus.LetterFilter{}), "", "")
		if err != nil {
			t.Fatal(err)
		}
		if records, letters := retriedRecords(t, settled); records != 1 || letters != 3 {
			t.Errorf("%d records of %d letters", records, letters)
		}
	})
}

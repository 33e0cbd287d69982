package nats

import (
	"testing"

	"kemi.dev/kemi/bus/driver"
)

// The server itself keeps back what a replay does not ask for: it would be most of what there is.
func TestAReplayOfAKeyIsSentNothingElse(t *testing.T) {
	t.Parallel()
	d := embedded(t, t.TempDir())
	if err := d.Ensure(t.Context(), []driver.Topic{{Name: "log", Partitions: 2}}); err != nil {
		t.Fatal(err)
	}
	say := func(keys ...string) {
		var some []driver.Record
		for _, key := range keys {
			some = append(some, driver.Record{Topic: "log", Key: key, Value: []byte(key)})
		}
		if err := d.Publish(t.Context(), some, nil); err != nil {
			t.Fatal(err)
		}
	}
	say("other", "kemi:mine", "other")
	f, err := d.Subscribe(t.Context(), driver.Subscription{Topic: "log", Keys: []string{"kemi:mine"}})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	caughtUp, came := false, 0
	for came < 2 {
		all, err := f.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range all {
			switch {
			case x.Event == driver.CaughtUp:
				caughtUp = true
				say("other", "other", "kemi:mine")
			case x.Record.Key != "kemi:mine":
				t.Errorf("a record of the key %q came", x.Record.Key)
			default:
				came++
			}
		}
	}
	if !caughtUp {
		t.Error("it never caught up")
	}
}

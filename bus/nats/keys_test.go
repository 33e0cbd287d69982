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

// So it is with the newest of a key, whether there is one, comes later or is taken out.
func TestASnapshotOfAKeyIsSentNothingElse(t *testing.T) {
	t.Parallel()
	d := embedded(t, t.TempDir())
	if err := d.Ensure(t.Context(), []driver.Topic{{Name: "latest", Kind: driver.Latest, Partitions: 2}}); err != nil {
		t.Fatal(err)
	}
	say := func(key, value string) {
		r := driver.Record{Topic: "latest", Partition: 1, Key: key}
		if value != "" {
			r.Value = []byte(value)
		}
		if err := d.Publish(t.Context(), []driver.Record{r}, nil); err != nil {
			t.Fatal(err)
		}
	}
	follow := func() (next func() string) {
		f, err := d.Subscribe(t.Context(), driver.Subscription{Topic: "latest", Start: driver.Start{Snapshot: true}, Partitions: []int{1}, Keys: []string{"note/mine"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		var all []string
		return func() string {
			for len(all) == 0 {
				batch, err := f.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for _, x := range batch {
					if x.Event == driver.CaughtUp {
						all = append(all, "caught up")
					} else {
						all = append(all, x.Record.Key+"="+string(x.Record.Value))
					}
				}
			}
			first := all[0]
			all = all[1:]
			return first
		}
	}
	want := func(next func() string, all ...string) {
		t.Helper()
		for _, x := range all {
			if got := next(); got != x {
				t.Fatalf("%q came, want %q", got, x)
			}
		}
	}
	say("note/other", "1")
	early := follow()
	want(early, "caught up")
	say("note/mine", "1")
	want(early, "note/mine=1")
	say("note/mine/not", "1")
	say("note/mine", "2")
	want(early, "note/mine=2")
	late := follow()
	want(late, "note/mine=2", "caught up")
	say("note/other", "2")
	say("note/mine", "")
	want(early, "note/mine=")
	want(late, "note/mine=")
	want(follow(), "caught up")
}

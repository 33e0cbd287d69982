package nats

import (
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"kemi.dev/kemi/bus/driver"
)

// beat is a member's announcement as the bucket tells it.
type beat struct {
	jetstream.KeyValueEntry
	key    string
	stored time.Time
}

func (b beat) Key() string                     { return b.key }
func (b beat) Created() time.Time              { return b.stored }
func (b beat) Operation() jetstream.KeyValueOp { return jetstream.KeyValuePut }

// What a member said last stays in the bucket when it was killed. Who joins later, or wakes and finds it among what it slept
// through, does not take it for alive: others have said much since.
func TestWhatAKilledMemberLeftIsNotTakenForLife(t *testing.T) {
	t.Parallel()
	d := &Driver{tuning: defaults()}
	base := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	lease := d.tuning.lease
	for name, c := range map[string]struct {
		said []beat
		want []string
	}{
		"killed long ago":        {[]beat{{key: "dead", stored: base}, {key: "owner", stored: base.Add(lease)}}, []string{"me", "owner"}},
		"killed just now":        {[]beat{{key: "dead", stored: base}, {key: "owner", stored: base.Add(lease - time.Second)}}, []string{"dead", "me", "owner"}},
		"nobody said more":       {[]beat{{key: "owner", stored: base}}, []string{"me", "owner"}},
		"slept through its life": {[]beat{{key: "dead", stored: base}, {key: "owner", stored: base}, {key: "dead", stored: base.Add(time.Second)}, {key: "owner", stored: base.Add(time.Minute)}}, []string{"me", "owner"}},
		"said by ourselves":      {[]beat{{key: "dead", stored: base}, {key: "me", stored: base.Add(time.Minute)}}, []string{"me"}},
		"the clock was put back": {[]beat{{key: "owner", stored: base.Add(time.Hour)}, {key: "other", stored: base}, {key: "owner", stored: base.Add(time.Second)}}, []string{"me", "other", "owner"}},
	} {
		o := newOwner(d, &topic{Topic: driver.Topic{Name: "things.v1", Partitions: 4}}, driver.Subscription{Group: "g"}, "me")
		for _, b := range c.said {
			b.key = o.prefix + "m-" + b.key
			o.hear(b)
		}
		got := o.alive(time.Now())
		if slices.Sort(got); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v are taken for alive, want %v", name, got, c.want)
		}
	}
}

// Who joins a group has its share at once, though another member was killed a while ago: what is yielded waits for nobody
// who is dead.
func TestIntegrationWhoJoinsAfterAKillHasItsShareAtOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("a lease takes its time to end")
	}
	t.Parallel()
	s := external(t, t.TempDir(), server.RANDOM_PORT)
	topic := driver.Topic{Name: "things.v1", Partitions: 4, MaxBytes: 1 << 20}
	one, two := dialled(t, Config{}, s), dialled(t, Config{}, s)
	one.tuning, two.tuning = defaults(), defaults()
	o, _ := holding(t, one, topic)
	died := time.Now()
	if _, err := one.members.Put(t.Context(), o.prefix+"m-dead", []byte("1")); err != nil {
		t.Fatal(err)
	}
	await(t, "the dead member to be forgotten", func() bool { return time.Since(died) > one.tuning.lease+time.Second })
	begun := time.Now()
	f := follow(t, two, driver.Subscription{Topic: topic.Name, Group: "g"})
	mine := map[int]bool{}
	f.until("half of the partitions", func(x driver.Delivery) bool {
		if x.Event == driver.Assigned {
			mine[x.Partition] = true
		}
		return len(mine) == 2
	})
	if took := time.Since(begun); took >= two.tuning.lease {
		t.Errorf("it took %s, as long as a lease", took)
	}
}

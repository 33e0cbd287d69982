package nats

import (
	"context"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"kemi.dev/kemi/bus/driver"
)

// busy is a bucket of which the replicas take their time: so many writes meet another that is under way.
type busy struct {
	jetstream.KeyValue
	left int
}

func (b *busy) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	if b.left > 0 {
		b.left--
		return 0, &jetstream.APIError{Code: 400, ErrorCode: errUnderWay, Description: "wrong last sequence"}
	}
	return b.KeyValue.Update(ctx, key, value, revision)
}

// holding is the only member of a group, and the leases of all partitions of a topic.
func holding(t *testing.T, d *Driver, topic driver.Topic) (*owner, map[int]*lease) {
	t.Helper()
	if err := d.Ensure(t.Context(), []driver.Topic{topic}); err != nil {
		t.Fatal(err)
	}
	f := follow(t, d, driver.Subscription{Topic: topic.Name, Group: "g"})
	leases := map[int]*lease{}
	o := f.Feed.(*owner)
	f.until("all partitions", func(x driver.Delivery) bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		leases[x.Partition] = o.leases[x.Partition]
		return len(leases) == topic.Partitions
	})
	return o, leases
}

// What is under way is waited for: it is no sign that somebody else writes the lease.
func TestALeaseIsWrittenAfterWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	d := dialled(t, Config{}, external(t, t.TempDir(), server.RANDOM_PORT))
	o, leases := holding(t, d, driver.Topic{Name: "things.v1", Partitions: 1, MaxBytes: 1 << 20})
	o.silent.Store(true)
	l := leases[0]
	l.cas.Lock() // Nobody writes meanwhile.
	d.groups = &busy{d.groups, 20}
	l.cas.Unlock()
	if err := l.write(t.Context(), false); err != nil {
		t.Fatal(err)
	}
}

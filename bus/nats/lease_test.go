package nats

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/cutter"
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
		o.Mu.Lock()
		defer o.Mu.Unlock()
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
	d.groups = &busy{d.groups, 5}
	l.cas.Unlock()
	if err := l.write(t.Context(), false); err != nil {
		t.Fatal(err)
	}
}

// An answer that is lost with a connection, or with a server of a cluster, is not waited for: whoever asks again learns what
// became of it. Meanwhile the other leases are renewed, and others wait for none of it longer than a lease may be silent.
func TestALostAnswerCostsNobodyALease(t *testing.T) {
	t.Parallel()
	topic := driver.Topic{Name: "things.v1", Partitions: 4, MaxBytes: 1 << 20}
	for name, c := range map[string]struct {
		expired bool // The answer that is lost is of the lease; else of the record that keeps former owners out.
	}{"of the lease": {true}, "of the fence": {false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, cut := frozen(t)
			o, leases := holding(t, d, topic)
			l := leases[0]
			if c.expired {
				o.silent.Store(true)
				await(t, "the lease to be in doubt", func() bool {
					o.Mu.Lock()
					defer o.Mu.Unlock()
					return !time.Now().Before(l.valid)
				})
			}
			cut.Swallow(cutter.Down)
			published := make(chan error, 1)
			go func() {
				r := driver.Record{Topic: topic.Name, Key: "k", Value: []byte("v")}
				published <- d.Publish(t.Context(), []driver.Record{r}, &driver.Fence{Topic: topic.Name, Group: "g", Epoch: l.epoch})
			}()
			await(t, "the question", func() bool {
				lock := &l.cas
				if !c.expired {
					lock = &l.fence(o.t).mu
				}
				if lock.TryLock() {
					lock.Unlock()
					return false
				}
				return true
			})
			if err := cut.Heal(); err != nil {
				t.Fatal(err)
			}
			healed := time.Now()
			o.silent.Store(false)
			await(t, "every lease to be renewed", func() bool {
				o.Mu.Lock()
				defer o.Mu.Unlock()
				for _, l := range leases {
					if l.lost || !l.written.After(healed) {
						return false
					}
				}
				return true
			})
			if err := <-published; err != nil {
				t.Fatal(err)
			}
			// Waited for, the answer that is lost would take the half minute that calls have.
			if took := time.Since(healed); took > 25*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

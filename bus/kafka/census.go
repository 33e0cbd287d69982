package kafka

import (
	"context"
	"fmt"

	kafkago "github.com/segmentio/kafka-go"

	"kemi.dev/kemi/bus/driver"
)

// census knows how large the newest record of each key of a topic is: what stays when Kafka has cleaned up. There is one
// only of a topic that has outgrown its limit, for then it matters how much of it is what was replaced.
type census struct {
	readers []*reader
	sizes   map[string]int64
	live    int64
	era     uint64 // Of the log that it is of.
}

func newCensus(d *Driver, t *topic) *census {
	c := &census{sizes: map[string]int64{}, era: t.era()}
	for p := range t.parts {
		c.readers = append(c.readers, newReader(d, t, p, 0))
	}
	return c
}

// follow reads what is new.
func (c *census) follow(ctx context.Context) error {
	d, t := c.readers[0].d, c.readers[0].t
	var all []int
	for p := range c.readers {
		all = append(all, p)
	}
	ends, err := d.offsets(ctx, t, all, kafkago.LastOffset)
	if err != nil {
		return err
	}
	for p, r := range c.readers {
		for r.next < ends[p] {
			page, err := r.fetch(ctx)
			if err != nil {
				return fmt.Errorf("add up what %s holds: %w", t.Name, err)
			}
			for i := range page.ds {
				c.note(&page.ds[i].Record)
			}
			if page.stable < ends[p] && r.next >= page.stable {
				break // The rest is in a transaction that has not ended.
			}
		}
	}
	return nil
}

func (c *census) note(r *driver.Record) {
	was := c.sizes[r.Key]
	if r.Value == nil {
		delete(c.sizes, r.Key)
		c.live -= was
		return
	}
	now := weigh(r)
	c.sizes[r.Key] = now
	c.live += now - was
}

// slight is by how many bytes a record may outgrow the one of its key on a topic that is over its limit, however much: what
// ends a silence, an alert or an incident says a little more than what began it.
const slight = 1 << 10

// admits says whether the topic may take the records: there is room beside the newest of each key, or each of them goes
// for one of its key, and takes hardly more, or no more than fits into a reserve of an eighth of the limit.
func (c *census) admits(records []driver.Record, limit int64) bool {
	live := c.live
	sizes := map[string]int64{}
	known, slightly := true, true
	for i := range records {
		r := &records[i]
		was, seen := sizes[r.Key]
		if !seen {
			was, seen = c.sizes[r.Key]
		}
		var now int64
		if r.Value != nil {
			now = weigh(r)
		}
		known = known && (seen && was > 0 || now == 0)
		slightly = slightly && now <= was+slight
		live += now - was
		sizes[r.Key] = now
	}
	return live <= limit || known && (slightly || live <= limit+limit/8)
}

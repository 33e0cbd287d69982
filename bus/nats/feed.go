package nats

import (
	"github.com/nats-io/nats.go"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/driver/outlet"
)

// feed is what all kinds of feed have in common.
type feed struct {
	outlet.Outlet
	d *Driver
	t *topic
	s driver.Subscription
}

func newFeed(d *Driver, t *topic, s driver.Subscription) feed {
	return feed{Outlet: outlet.New(t.Name), d: d, t: t, s: s}
}

// delivered makes the delivery of a message.
func (t *topic) delivered(m *nats.Msg, meta *nats.MsgMetadata) (driver.Delivery, error) {
	r, err := t.decode(m)
	if err != nil {
		return driver.Delivery{}, err
	}
	if t.Kind != driver.Latest && r.Value == nil {
		r.Value = []byte{}
	}
	return driver.Delivery{
		Event: driver.Data, Partition: r.Partition, Position: int64(meta.Sequence.Stream), Record: r, Stored: meta.Timestamp,
	}, nil
}

package kafka

import (
	"context"
	"strconv"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/describeconfigs"
)

// remember is how long a cluster should know how far a group is that has no members: as long as Kafka does that nobody has
// told otherwise. A group that was forgotten begins anew where its subscription begins.
const remember = 7 * 24 * time.Hour

// recall looks how long the cluster remembers groups, and warns when that is short. Who may not ask is not told.
func (d *Driver) recall(ctx context.Context) {
	const setting = "offsets.retention.minutes"
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	for _, node := range d.link.nodes() {
		res, err := d.link.ask(ctx, node, &describeconfigs.Request{Resources: []describeconfigs.RequestResource{
			{ResourceType: int8(kafkago.ResourceTypeBroker), ResourceName: strconv.Itoa(int(node)), ConfigNames: []string{setting}},
		}})
		if err != nil {
			d.scope.Log().Debug("ask how long groups are remembered", "broker", node, "err", err)
			continue
		}
		for _, r := range res.(*describeconfigs.Response).Resources {
			for _, e := range r.ConfigEntries {
				if n, err := strconv.ParseInt(e.ConfigValue, 10, 64); err == nil && e.ConfigName == setting && n < int64(remember/time.Minute) {
					d.scope.Log().Warn("a broker forgets soon how far a group is whose members are all gone: a Kemi that was off for longer begins anew; raise "+setting,
						"broker", node, "minutes", n, "wanted", int64(remember/time.Minute))
					return
				}
			}
		}
	}
}

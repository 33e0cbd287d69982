package kafka

import (
	"context"
	"fmt"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

// readable asks, once for each topic, whether this user may read it: who may only see it would wait for records that never
// come. A broker that does not answer now, or is older than Kafka 2.3 and does not say, is believed.
func (d *Driver) readable(ctx context.Context, t *topic) error {
	if t.readable.Load() {
		return nil
	}
	ask, cancel := context.WithTimeout(ctx, d.tuning.lease/3)
	defer cancel()
	res, err := d.link.ask(ask, anyone, &metadata.Request{TopicNames: []string{t.name}, IncludeTopicAuthorizedOperations: true})
	if err != nil {
		return ctx.Err()
	}
	for _, one := range res.(*metadata.Response).Topics {
		// One bit for each operation; none at all, or the first, is that the broker does not say. Source: KIP-430.
		if all := one.TopicAuthorizedOperations; one.Name == t.name && all > 0 && all&(1<<kafkago.ACLOperationTypeRead) == 0 {
			return explain(fmt.Errorf("read %s: %w", t.name, kafkago.TopicAuthorizationFailed))
		}
	}
	t.readable.Store(true)
	return nil
}

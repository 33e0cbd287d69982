package kafka

import (
	"context"
	"fmt"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

// readable asks, once for each topic, whether this user may read it: who may only see it would wait for records that never
// come. Brokers older than Kafka 2.3 do not say, and are believed.
func (d *Driver) readable(ctx context.Context, t *topic) error {
	if t.readable.Load() {
		return nil
	}
	return d.insist(ctx, func() error {
		res, err := d.link.ask(ctx, anyone, &metadata.Request{TopicNames: []string{t.name}, IncludeTopicAuthorizedOperations: true})
		if err != nil {
			return fmt.Errorf("ask what is allowed with %s: %w", t.name, err)
		}
		for _, one := range res.(*metadata.Response).Topics {
			// One bit for each operation; none at all, or the first, is that the broker does not say. Source: KIP-430.
			if all := one.TopicAuthorizedOperations; one.Name == t.name && all > 0 && all&(1<<kafkago.ACLOperationTypeRead) == 0 {
				return fmt.Errorf("read %s: %w", t.name, kafkago.TopicAuthorizationFailed)
			}
		}
		t.readable.Store(true)
		return nil
	})
}

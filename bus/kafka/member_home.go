package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/findcoordinator"
)

// coordinator is the broker that looks after one group or one transactional id. All requests about it go there and
// nowhere else, in one round trip, so that another broker that hangs costs nobody a membership; it implements
// kafkago.RoundTripper.
type coordinator struct {
	link *link
	key  string
	kind kafkago.CoordinatorKeyType

	mu   sync.Mutex
	node int32 // anyone when it is to be asked for.
}

// RoundTrip sends the request to the coordinator. The address does not matter.
func (c *coordinator) RoundTrip(ctx context.Context, _ net.Addr, req kafkago.Request) (kafkago.Response, error) {
	node, err := c.find(ctx)
	if err != nil {
		return nil, fmt.Errorf("find the coordinator of %s: %w", c.key, err)
	}
	res, err := c.link.ask(ctx, node, req)
	if err != nil {
		c.forget()
	}
	return res, err
}

func (c *coordinator) find(ctx context.Context) (int32, error) {
	c.mu.Lock()
	node := c.node
	c.mu.Unlock()
	if node != anyone {
		return node, nil
	}
	res, err := c.link.ask(ctx, anyone, &findcoordinator.Request{Key: c.key, KeyType: int8(c.kind)})
	if err != nil {
		return anyone, err
	}
	r, ok := res.(*findcoordinator.Response)
	if !ok {
		return anyone, fmt.Errorf("the broker answered with %T", res)
	}
	if r.ErrorCode != 0 {
		return anyone, kafkago.Error(r.ErrorCode)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.node = r.NodeID
	return r.NodeID, nil
}

// forget has the coordinator asked for again: it moved, or does not answer.
func (c *coordinator) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.node = anyone
}

// moved says that the coordinator is another broker now, or not ready yet.
func moved(err error) bool {
	return errors.Is(err, kafkago.NotCoordinatorForGroup) || errors.Is(err, kafkago.GroupCoordinatorNotAvailable) || errors.Is(err, kafkago.GroupLoadInProgress)
}

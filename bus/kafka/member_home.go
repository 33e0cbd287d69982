package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
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

// versionHeartbeat is of Kafka 2.0.
const versionHeartbeat = 2

// heartbeat asks whether the member is one of the generation. The request is written by hand: kafka-go reads its answer in
// the wrong order, and so never finds an error in it.
func (c *coordinator) heartbeat(ctx context.Context, group string, generation int, member string) error {
	node, err := c.find(ctx)
	if err != nil {
		return fmt.Errorf("find the coordinator of %s: %w", c.key, err)
	}
	m := c.link.newMessage(protocol.Heartbeat, versionHeartbeat, node, 64+len(group)+len(member))
	m.text(group)
	m.int32(int32(generation))
	m.text(member)
	p, err := c.link.send(ctx, m)
	if err != nil {
		c.forget()
		return fmt.Errorf("say to the coordinator of %s that we live: %w", c.key, err)
	}
	_ = p.int32() // How long we are held back.
	if code := p.int16(); code != 0 {
		return kafkago.Error(code)
	}
	return p.err()
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

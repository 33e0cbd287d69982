package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/apiversions"
	"github.com/segmentio/kafka-go/protocol/metadata"

	"kemi.dev/kemi/bus/driver"
)

// need is a request that brokers must know, in a version, and since when Kafka does.
type need struct {
	api     protocol.ApiKey
	version int16
	since   string
	what    string
}

// needs are what this driver cannot do without. The newest of them came with Kafka 2.5.
var needs = []need{
	{protocol.Produce, versionProduce, "2.4", "publishing"},
	{protocol.Fetch, versionFetch, "2.3", "reading"},
	{protocol.ListOffsets, 2, "0.11", "looking up positions"},
	{protocol.Metadata, 4, "0.11", "finding who leads a partition"},
	{protocol.CreateTopics, 1, "0.10.2", "making topics"},
	{protocol.DescribeConfigs, 0, "0.11", "comparing topics"},
	{protocol.DescribeLogDirs, versionLogDirs, "2.0", "how large topics are"},
	{protocol.InitProducerId, 3, "2.5", "transactions that fence former owners"},
	{protocol.AddPartitionsToTxn, 0, "0.11", "transactions"},
	{protocol.EndTxn, 0, "0.11", "transactions"},
	{protocol.JoinGroup, 2, "0.11", "groups"},
	{protocol.OffsetCommit, 2, "0.9", "committed positions"},
	{protocol.OffsetFetch, 1, "0.8.2", "committed positions"},
}

// missing says what the brokers lack.
func missing(have []apiversions.ApiKeyResponse) error {
	versions := map[protocol.ApiKey]apiversions.ApiKeyResponse{}
	for _, k := range have {
		versions[protocol.ApiKey(k.ApiKey)] = k
	}
	for _, n := range needs {
		k, there := versions[n.api]
		switch {
		case !there || k.MaxVersion < n.version:
			return fmt.Errorf("the broker lacks %s version %d (%s): it is there from Kafka %s on; upgrade the brokers, 2.5 has all that is needed", n.api, n.version, n.what, n.since)
		case k.MinVersion > max(n.version, n.api.MaxVersion()):
			return fmt.Errorf("the broker has forgotten %s version %d (%s): it is newer than this Kemi knows; upgrade Kemi", n.api, n.version, n.what)
		}
	}
	return nil
}

// Open connects. Ensure, Publish and Subscribe do it too when it was not done. While no broker answers it waits until ctx
// ends, which is driver.ErrAway; who is refused is told at once. It may be tried again.
func (d *Driver) Open(ctx context.Context) error {
	d.opening.Lock()
	defer d.opening.Unlock()
	switch {
	case d.isClosed():
		return driver.ErrClosed
	case d.opened:
		return ctx.Err()
	}
	if d.link == nil {
		l, err := d.connect()
		if err != nil {
			return err
		}
		d.mu.Lock()
		d.client, d.link = &kafkago.Client{Addr: l.addr, Transport: l}, l
		d.mu.Unlock()
	}
	waits := time.AfterFunc(usual, func() {
		d.scope.Log().Warn("wait for a broker", "brokers", d.where(), "err", d.link.health())
	})
	defer waits.Stop()
	err := d.insist(ctx, func() error { return d.greet(ctx) })
	if err != nil {
		return fmt.Errorf("connect to kafka at %s: %w", d.where(), err)
	}
	d.opened = true
	d.tasks.Go(func() { d.lookAfter(d.life) })
	return nil
}

// greet asks any broker what it can do, and who the others are.
func (d *Driver) greet(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	// In words of kafka-go's transport: it tells why it cannot connect only when it is asked about itself.
	if _, err := d.link.RoundTrip(ctx, d.link.addr, &metadata.Request{TopicNames: []string{}}); err != nil {
		return err
	}
	res, err := d.link.ask(ctx, anyone, &apiversions.Request{})
	if err != nil {
		return err
	}
	keys := res.(*apiversions.Response).ApiKeys
	if err := missing(keys); err != nil {
		return unfit{err}
	}
	d.link.identifies = slices.ContainsFunc(keys, func(k apiversions.ApiKeyResponse) bool {
		return protocol.ApiKey(k.ApiKey) == protocol.Metadata && k.MaxVersion >= versionMetadata
	})
	_, err = d.link.look(ctx, d.registry())
	if errors.Is(err, kafkago.UnknownTopicOrPartition) {
		err = nil
	}
	return err
}

// unfit is why brokers cannot be used.
type unfit struct{ error }

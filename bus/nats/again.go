package nats

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/pause"
)

// A server may come back with an empty disk, and a stream may be deleted by hand under a running Kemi. What was in it is
// lost; what must not be lost is that work goes on. So what was ensured here is made again, loudly, as soon as somebody
// notices; leases are taken anew with later epochs, and readers whose positions were in the lost stream begin at the
// beginning of the new one.

// isMissing says that an error may come from a stream, bucket or consumer that is gone.
func isMissing(err error) bool {
	for _, e := range []error{
		jetstream.ErrStreamNotFound, jetstream.ErrBucketNotFound, jetstream.ErrNoStreamResponse, jetstream.ErrConsumerNotFound,
		nats.ErrNoResponders, driver.ErrNoTopic,
		nats.ErrStreamNotFound, nats.ErrConsumerNotFound, nats.ErrNoStreamResponse, // What watches of buckets say.
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// lookAfter makes again what is gone, until the driver is closed.
func (d *Driver) lookAfter(ctx context.Context, l *link) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.missing:
		}
		for ctx.Err() == nil {
			err := d.restore(ctx, l)
			if err == nil {
				break
			}
			if ctx.Err() == nil {
				l.warn(d.scope.Log(), "look whether all streams are there", err)
			}
			if !pause.For(ctx, time.Second) {
				return
			}
		}
		// Many notice at once; those that still come upon the old state need no answer.
		if !pause.For(ctx, 100*time.Millisecond) {
			return
		}
	}
}

// restore makes what was ensured on a link and is not there any more.
func (d *Driver) restore(ctx context.Context, l *link) error {
	ctx, cancel := context.WithTimeout(ctx, d.tuning.patience)
	defer cancel()
	d.mu.Lock()
	var topics []driver.Topic
	for name, want := range d.wanted {
		if t := d.topics[name]; t == nil || t.link == l {
			topics = append(topics, want)
		}
	}
	buckets := d.groups != nil && l == d.links[process]
	d.mu.Unlock()
	if buckets {
		if err := d.buckets(ctx); err != nil {
			return err
		}
	}
	for _, want := range topics {
		if _, err := d.seek(ctx, want.Name); err != nil && !errors.Is(err, driver.ErrNoTopic) {
			return err
		}
	}
	return nil
}

// seek finds a topic's stream, and makes it again when it was ensured here.
func (d *Driver) seek(ctx context.Context, name string) (*topic, error) {
	t, err := d.find(ctx, name)
	if !errors.Is(err, driver.ErrNoTopic) {
		if err == nil {
			d.know(t)
		}
		return t, err
	}
	d.mu.Lock()
	want, ok := d.wanted[name]
	d.mu.Unlock()
	if !ok {
		return nil, err
	}
	d.scope.Log().Error("the stream of a topic is gone with all it held, it is made again", "topic", name, "stream", d.named(want, nil, 0).stream)
	d.lost.WithLabelValues(name).Inc()
	if err := d.ensure(ctx, want); err != nil {
		return nil, fmt.Errorf("make the stream of %s again: %w", name, err)
	}
	return d.find(ctx, name)
}

// buckets opens the two key-value buckets, who owns which partition and who is there, and makes those that are missing.
func (d *Driver) buckets(ctx context.Context) error {
	d.bucketing.Lock()
	defer d.bucketing.Unlock()
	l := d.links[process]
	for _, b := range []struct {
		to     *jetstream.KeyValue
		config jetstream.KeyValueConfig
	}{
		{&d.groups, jetstream.KeyValueConfig{Bucket: d.config.Prefix + "_groups", Description: "owner, epoch and position of each partition in each group", MaxBytes: 64 << 20}},
		{&d.members, jetstream.KeyValueConfig{Bucket: d.config.Prefix + "_members", Description: "members of groups", MaxBytes: 16 << 20, TTL: 10 * d.tuning.lease}},
	} {
		b.config.Replicas = d.config.Replicas
		d.mu.Lock()
		known := *b.to != nil
		d.mu.Unlock()
		var kv jetstream.KeyValue
		err := l.call(ctx, "KV_"+b.config.Bucket, func(ctx context.Context) (err error) {
			kv, err = l.js.KeyValue(ctx, b.config.Bucket)
			if errors.Is(err, jetstream.ErrBucketNotFound) {
				if known {
					d.scope.Log().Error("a bucket is gone with all it held, it is made again: partitions are taken anew", "bucket", b.config.Bucket)
					d.lost.WithLabelValues(b.config.Bucket).Inc()
				}
				kv, err = l.js.CreateKeyValue(ctx, b.config)
			}
			return err
		})
		if err != nil {
			return l.explain(fmt.Errorf("open bucket %s: %w", b.config.Bucket, d.put(err)))
		}
		if known {
			continue // The handle is good for the new one.
		}
		if err := d.compare(ctx, l, b.config); err != nil {
			return l.explain(fmt.Errorf("open bucket %s: %w", b.config.Bucket, d.put(err)))
		}
		d.mu.Lock()
		*b.to = kv
		d.mu.Unlock()
	}
	return nil
}

// open opens the buckets when that was not done.
func (d *Driver) open(ctx context.Context) error {
	d.mu.Lock()
	done := d.groups != nil && d.members != nil
	d.mu.Unlock()
	if done {
		return nil
	}
	return d.buckets(ctx)
}

// compare reports how a bucket differs from what it should be.
func (d *Driver) compare(ctx context.Context, l *link, should jetstream.KeyValueConfig) error {
	stream := "KV_" + should.Bucket
	var s jetstream.Stream
	if err := l.call(ctx, stream, func(ctx context.Context) (err error) {
		s, err = l.js.Stream(ctx, stream)
		return err
	}); errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil // Another process made it only now, and not every server of a cluster knows it yet: there is no difference.
	} else if err != nil {
		return err
	}
	c := s.CachedInfo().Config
	want := c
	want.MaxBytes, want.MaxAge, want.Replicas, want.MaxMsgsPerSubject = should.MaxBytes, should.TTL, should.Replicas, 1
	want.Discard, want.MaxMsgs = jetstream.DiscardNew, -1
	for _, x := range differences(want, c) {
		d.scope.Log().Warn("a bucket differs from what it should be", "bucket", should.Bucket, "setting", x.setting, "wanted", x.wanted, "found", x.found,
			"change", d.command(&topic{stream: stream}, x.flag))
	}
	return nil
}

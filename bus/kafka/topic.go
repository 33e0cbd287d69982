package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/createtopics"
	"github.com/segmentio/kafka-go/protocol/describeconfigs"
	"github.com/segmentio/kafka-go/protocol/metadata"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/pause"
)

// topic is a driver.Topic and Kafka's topic that it is kept in.
type topic struct {
	driver.Topic
	name     string
	parts    int // Partitions that Kafka's topic has: more than Partitions where work is shared.
	maxBatch int // Bytes that a record batch may have.
	quota    quota
	turn     atomic.Uint32 // Where work goes next.
	readable atomic.Bool   // The brokers said that it may be read.
	life     *life         // Which log the name stands for; nil of the registry.
}

// defaultBatch is what a broker takes that says nothing else.
const defaultBatch = 1048588

func (d *Driver) named(t driver.Topic) *topic {
	parts := t.Partitions
	if t.Kind == driver.Work {
		parts = max(parts, workPartitions)
	}
	name := d.config.Prefix + "." + t.Name
	return &topic{Topic: t, name: name, life: d.lifeOf(name), parts: parts, maxBatch: defaultBatch, quota: quota{asking: make(chan struct{}, 1)}}
}

// legal says whether Kafka takes the name.
func legal(name string) bool {
	if len(name) > 249 {
		return false
	}
	for i := range len(name) {
		if c := name[i]; (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// Ensure implements driver.Driver.
func (d *Driver) Ensure(ctx context.Context, topics []driver.Topic) error {
	ctx, cancel, err := d.ready(ctx)
	defer cancel()
	if err != nil {
		return fmt.Errorf("ensure topics: %w", err)
	}
	entries, err := d.openRegistry(ctx)
	if err != nil {
		return fmt.Errorf("ensure topics: %w", err)
	}
	err = driver.EnsureEach(topics, func(want driver.Topic) error {
		if err := d.ensure(ctx, want, entries[want.Name]); err != nil {
			return explain(err)
		}
		d.mu.Lock()
		d.wanted[want.Name] = want
		d.mu.Unlock()
		return nil
	})
	if err != nil {
		return err
	}
	if _, err := d.identify(ctx); err != nil && ctx.Err() == nil {
		d.scope.Log().Debug("ask which topics there are", "err", err)
	}
	d.recalled.Do(func() {
		d.recall(ctx)
		if len(topics) > 0 {
			d.weighable(ctx, d.named(topics[0]))
		}
	})
	return nil
}

func (d *Driver) ensure(ctx context.Context, want driver.Topic, entry *driver.Topic) error {
	t := d.named(want)
	if want.Name == "" || want.Partitions < 1 || !legal(t.name) {
		return fmt.Errorf("a topic needs a name that Kafka takes and at least one partition, got %q and %d", t.name, want.Partitions)
	}
	have, err := d.describe(ctx, t.name)
	if errors.Is(err, driver.ErrNoTopic) {
		// First what Kafka cannot say: whoever finds the topic finds that too.
		if err := d.register(ctx, want); err != nil {
			return err
		}
		entry = &want
		if err := d.create(ctx, t); err != nil && !errors.Is(err, kafkago.TopicAlreadyExists) {
			return err
		}
		have, err = d.await(ctx, t.name)
	}
	if err != nil {
		return err
	}
	differences, err := reconcile(t, entry, have, d.configs(t))
	if err != nil {
		return err
	}
	if len(differences) > 0 {
		d.scope.Log().Warn("a topic is kept in another way than it should be; change it with kafka-configs.sh --alter --add-config",
			"topic", want.Name, "entity", t.name, "wanted", strings.Join(differences, ","))
	}
	if entry == nil || *entry != want {
		if err := d.register(ctx, want); err != nil {
			return err
		}
	}
	t.maxBatch = have.maxBatch()
	d.know(t)
	return nil
}

// configs is how Kafka is to keep a topic.
func (d *Driver) configs(t *topic) map[string]string {
	c := topicConfigs(t)
	if in := d.config.MinInSync; in > 0 {
		c["min.insync.replicas"] = strconv.Itoa(in)
	}
	return c
}

// create makes Kafka's topic.
func (d *Driver) create(ctx context.Context, t *topic) error {
	req := createtopics.RequestTopic{Name: t.name, NumPartitions: int32(t.parts), ReplicationFactor: int16(d.config.Replicas)}
	if req.ReplicationFactor == 0 {
		req.ReplicationFactor = int16(min(3, d.link.size()))
	}
	configs := d.configs(t)
	if req.ReplicationFactor >= 3 && d.config.MinInSync == 0 {
		configs["min.insync.replicas"] = "2" // Not advised of a topic that is there: one with fewer replicas would take nothing.
	}
	for name, value := range configs {
		req.Configs = append(req.Configs, createtopics.RequestConfig{Name: name, Value: value})
	}
	return d.insist(ctx, func() error {
		if _, err := d.link.look(ctx, t.name); err != nil && !errors.Is(err, kafkago.UnknownTopicOrPartition) {
			return err // It says who controls the cluster as well.
		}
		ctx, cancel := context.WithTimeout(ctx, d.tuning.answer)
		defer cancel()
		res, err := d.link.ask(ctx, d.link.controller(), &createtopics.Request{Topics: []createtopics.RequestTopic{req}, TimeoutMs: int32(d.tuning.answer.Milliseconds())})
		if err != nil {
			return fmt.Errorf("create %s: %w", t.name, err)
		}
		for _, one := range res.(*createtopics.Response).Topics {
			if one.ErrorCode != 0 {
				return fmt.Errorf("create %s: %w (%s)", t.name, kafkago.Error(one.ErrorCode), one.ErrorMessage)
			}
		}
		return nil
	})
}

// await waits until a topic that was made is known to all brokers that answer, and has leaders.
func (d *Driver) await(ctx context.Context, name string) (kept, error) {
	for {
		have, err := d.describe(ctx, name)
		if err == nil {
			for p := range have.partitions {
				if _, err = d.link.leader(ctx, name, p); err != nil {
					break
				}
			}
		}
		for _, node := range d.link.nodes() {
			if err != nil {
				break
			}
			err = d.knows(ctx, node, name)
		}
		if err == nil || !passing(err) && !errors.Is(err, driver.ErrNoTopic) {
			return have, err
		}
		if !pause.For(ctx, d.tuning.again) {
			return have, fmt.Errorf("%w: %w", away(err), ctx.Err())
		}
	}
}

// knows is an error while a broker does not know of a topic. One that is away learns of it before it serves.
func (d *Driver) knows(ctx context.Context, node int32, name string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	res, err := d.link.ask(ctx, node, &metadata.Request{TopicNames: []string{name}})
	if err != nil {
		return nil
	}
	for _, t := range res.(*metadata.Response).Topics {
		if t.ErrorCode != 0 {
			return fmt.Errorf("ask broker %d about %s: %w", node, name, kind(kafkago.Error(t.ErrorCode)))
		}
	}
	return nil
}

// kept is how Kafka keeps a topic.
type kept struct {
	partitions int
	configs    map[string]string
}

func (k kept) maxBatch() int {
	if n, err := strconv.Atoi(k.configs["max.message.bytes"]); err == nil && n > 0 {
		return n
	}
	return defaultBatch
}

// describe asks the brokers how they keep a topic.
func (d *Driver) describe(ctx context.Context, name string) (kept, error) {
	var out kept
	return out, d.insist(ctx, func() error {
		ctx, cancel := context.WithTimeout(ctx, d.tuning.answer)
		defer cancel()
		l, err := d.link.look(ctx, name)
		if err != nil {
			return kind(err)
		}
		out = kept{partitions: len(l.leaders), configs: map[string]string{}}
		res, err := d.link.ask(ctx, anyone, &describeconfigs.Request{Resources: []describeconfigs.RequestResource{
			{ResourceType: int8(kafkago.ResourceTypeTopic), ResourceName: name},
		}})
		if err != nil {
			return fmt.Errorf("ask how %s is kept: %w", name, err)
		}
		for _, r := range res.(*describeconfigs.Response).Resources {
			if r.ErrorCode != 0 {
				return kind(fmt.Errorf("ask how %s is kept: %w", name, kafkago.Error(r.ErrorCode)))
			}
			for _, e := range r.ConfigEntries {
				out.configs[e.ConfigName] = e.ConfigValue
			}
		}
		return nil
	})
}

func (d *Driver) know(t *topic) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.topics[t.Name] = t
}

func (d *Driver) unknow(t *topic) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.topics[t.Name] == t {
		delete(d.topics, t.Name)
	}
}

// topic returns a topic of that name that was ensured here or anywhere.
func (d *Driver) topic(ctx context.Context, name string) (*topic, error) {
	d.mu.Lock()
	t := d.topics[name]
	d.mu.Unlock()
	if t != nil {
		return t, nil
	}
	t, err := d.find(ctx, name)
	if err == nil {
		d.know(t)
	}
	return t, err
}

// find asks the brokers for a topic.
func (d *Driver) find(ctx context.Context, name string) (*topic, error) {
	entries, err := d.entries(ctx)
	if err != nil {
		return nil, explain(err)
	}
	entry := entries[name]
	if entry == nil {
		return nil, driver.ErrNoTopic
	}
	t := d.named(*entry)
	have, err := d.describe(ctx, t.name)
	if err != nil {
		return nil, explain(err)
	}
	if have.partitions != t.parts {
		return nil, fmt.Errorf("%s has %d partitions, not %d: stop every Kemi that uses it and remove it, so that it is made with as many", t.name, have.partitions, t.parts)
	}
	t.maxBatch = have.maxBatch()
	return t, nil
}

// Milliseconds as Kafka writes them; 0 is for ever.
func span(d time.Duration) string {
	if d <= 0 {
		return "-1"
	}
	return strconv.FormatInt(max(d.Milliseconds(), 1), 10)
}

package nats

import (
	"fmt"
	"path/filepath"

	"kemi.dev/kemi/bus/driver"
)

// durabilities are the words of the configuration, by Topic.Sync.
var durabilities = map[bool]string{false: folders[process], true: folders[power]}

// redurable says what to do about a stream that has another durability than its topic is to have, and nothing else.
func (d *Driver) redurable(want driver.Topic, have *topic) error {
	is, should := durabilities[have.Sync], durabilities[want.Sync]
	err := fmt.Errorf("stream %s has durability %s and is configured with %s: give its topic durability %s again (bus: {durability: …})", have.stream, is, should, is)
	if d.host == nil {
		return fmt.Errorf("%w; or change it with nats stream edit %s --metadata=%s=%s --metadata=%s=%s --metadata=%s=%d --metadata=%s=%t (what loss of power takes the server's sync_interval decides)", err, have.stream,
			metaTopic, want.Name, metaKind, kinds[want.Kind], metaPartitions, want.Partitions, metaSync, want.Sync)
	}
	// Each durability has a server of its own, which finds the streams in its folder when it starts.
	streams := func(durability string) string {
		return filepath.Join(d.host.dir, durability, "jetstream", "$G", "streams")
	}
	return fmt.Errorf("%w; or move it with all it holds: stop kemi, mv '%s' '%s', and start it again", err, filepath.Join(streams(is), have.stream), streams(should))
}

package bus

import "kemi.dev/kemi/bus/driver"

// Health is nil while the broker answers, else it says what is wrong and since when. It asks nobody.
func (b *Bus) Health() error {
	if i, ok := b.d.(driver.Inspector); ok {
		return i.Health()
	}
	return nil
}

// Held says why publishing is held back while the broker's disk is short of space, "" while it is not, or where the broker
// looks after its disk itself: all of it, or, so that alerts and pages have room, readings and jobs. It asks nobody.
func (b *Bus) Held() (all bool, why string) {
	if r, ok := b.d.(driver.Rationer); ok {
		return r.Held()
	}
	return false, ""
}

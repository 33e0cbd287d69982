package bus

import "kemi.dev/kemi/bus/driver"

// Health is nil while the broker answers, else it says what is wrong and since when. It asks nobody.
func (b *Bus) Health() error {
	if i, ok := b.d.(driver.Inspector); ok {
		return i.Health()
	}
	return nil
}

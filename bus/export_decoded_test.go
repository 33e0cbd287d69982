package bus

// Known counts the places that the shared events of a bus are remembered by.
func Known(b *Bus) int {
	b.decoded.mu.Lock()
	defer b.decoded.mu.Unlock()
	return len(b.decoded.known)
}

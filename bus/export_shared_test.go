package bus

// Known counts the places that the shared events of a bus are remembered by.
func Known(b *Bus) int {
	b.shared.mu.Lock()
	defer b.shared.mu.Unlock()
	return len(b.shared.known)
}

package hosttest

import "github.com/loam-storage/loam/driver/host"

// Step is one moment in the life of a machine: a method is about to do something, or has just done it.
type Step struct {
	Method string // of host.Machine
	Path   string // its first path or device, if it has one
	After  bool
}

type faults struct {
	once, always map[string]error
	watch        func(Step) error
	lie          func(device string, found host.Signature, err error) (host.Signature, error)
}

// Fail makes the next call of a method return err and do nothing.
func (m *Machine) Fail(method string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.faults.once == nil {
		m.faults.once = map[string]error{}
	}
	m.faults.once[method] = err
}

// FailAlways makes each call of a method return err and do nothing, until it is set to nil.
func (m *Machine) FailAlways(method string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.faults.always == nil {
		m.faults.always = map[string]error{}
	}
	m.faults.always[method] = err
}

// Watch has f called at each step, nil for no longer. An error of f is what the method returns; before
// it did anything, it then does nothing. If f panics, the method ends there, as a process does that is
// killed.
func (m *Machine) Watch(f func(Step) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults.watch = f
}

// Lie has f change what Probe returns, nil for no longer.
func (m *Machine) Lie(f func(device string, found host.Signature, err error) (host.Signature, error)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults.lie = f
}

func (m *Machine) lie() func(string, host.Signature, error) (host.Signature, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.faults.lie
}

// step runs a method with the faults that are set. It holds no lock meanwhile.
func (m *Machine) step(method, path string, do func() error) error {
	m.mu.Lock()
	err, watch := m.faults.once[method], m.faults.watch
	delete(m.faults.once, method)
	if err == nil {
		err = m.faults.always[method]
	}
	m.mu.Unlock()
	if watch == nil {
		watch = func(Step) error { return nil }
	}
	if err == nil {
		err = watch(Step{Method: method, Path: path})
	}
	if err == nil {
		err = do()
	}
	if err == nil {
		err = watch(Step{Method: method, Path: path, After: true})
	}
	return err
}

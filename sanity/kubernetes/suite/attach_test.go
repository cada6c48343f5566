package suite

// installWithAttach changes how the driver is attached, which Kubernetes lets nobody change in place.
func installWithAttach(s *space) { s.reinstall("--set", "attach.enabled=true") }

func installWithoutAttach(s *space) { s.reinstall() }

func (s *space) reinstall(args ...string) {
	s.Helper()
	s.delete(drivers, driver)
	s.install(args...)
	s.loamReady()
	s.connected(s.nodes(s.T)...)
}

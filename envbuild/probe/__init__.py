"""How long users wait for a server and a kernel: started on an engine here, or in a pod of a cluster."""

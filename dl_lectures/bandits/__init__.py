"""Multi-armed bandits: rewards, policies, their simulation, and what no policy can beat."""

"""Images of answers, and the page that shows the main job: :mod:`atdc.report.demo`."""

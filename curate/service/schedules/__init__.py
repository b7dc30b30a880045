"""Runs that start by themselves: at times, when files come, or when another pipeline has finished.

`cron` tells the times, `policies` what becomes of each, both pure functions of what they are given; `ticker` asks them and
writes the answers into the database, where a row for each (schedule, due time) makes sure that no tick fires twice.
"""
